"""Signatures: what a key signed is verified by its public half, and by nothing else. Keys are made anew each run."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from flyte_build.kernel.errors import InputError, RefusedError, RegistryError
from flyte_build.registry import IMAGE_MANIFEST, Reference, Registry
from flyte_build.supply.keys import public_key, signer
from flyte_build.supply.signature_formats import BUNDLE, SIGNATURE, SIMPLE, of_bundle, of_simple, simple
from flyte_build.supply.signing import require_signatures, sign, sign_pushed, verify_signature
from tests.support.registry import RegistryServer
from tests.support.supply import DIGEST, push, put_image

from .pairs import written


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    return written(tmp_path, "team", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def other(tmp_path: Path) -> tuple[str, str]:
    return written(tmp_path, "other", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as one:
        yield one


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry(environ={}, wait=lambda _: None) as one:
        yield one


@pytest.fixture
def image(server: RegistryServer) -> str:
    return f"{server.host}/team/env@{put_image(server, 'team/env')}"


def signatures(server: RegistryServer, image: str) -> dict[str, Any]:
    """The manifest under the signatures' tag."""
    repository = server.repository("team/env")
    digest = repository.tags[f"sha256-{image.rpartition(':')[2]}.sig"]
    found: dict[str, Any] = json.loads(repository.manifests[digest][1])
    return found


def test_what_is_signed_is_verified(
    server: RegistryServer, registry: Registry, image: str, pair: tuple[str, str], other: tuple[str, str]
) -> None:
    assert not verify_signature(image, pair[1], registry)
    assert sign(image, pair[0], registry)
    found = verify_signature(image, pair[1], registry)
    assert (found.valid, found.others) == (True, False)
    stranger = verify_signature(image, other[1], registry)
    assert (stranger.valid, stranger.others) == (False, True)
    assert server.dangling() == []


def test_the_form_is_cosigns(server: RegistryServer, registry: Registry, image: str, pair: tuple[str, str]) -> None:
    sign(image, pair[0], registry)
    manifest = signatures(server, image)
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == SIMPLE
    payload = server.blobs[layer["digest"]]
    name, _, digest = image.partition("@")
    assert json.loads(payload) == {
        "critical": {
            "identity": {"docker-reference": name},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    assert public_key(pair[1]).verifies(base64.b64decode(layer["annotations"][SIGNATURE]), payload)
    config = json.loads(server.blobs[manifest["config"]["digest"]])
    assert config["rootfs"]["diff_ids"] == [layer["digest"]]


def test_a_signature_that_lacks_one_form_gets_it(
    server: RegistryServer, registry: Registry, image: str, pair: tuple[str, str]
) -> None:
    """A signer that was stopped between the two, or cosign 2, left the first alone."""
    server.fail("PUT", "manifest", status=500, times=99, after=1)
    with Registry(environ={}, attempts=1) as hasty, pytest.raises(RegistryError):
        sign(image, pair[0], hasty)
    server._planned.clear()
    assert verify_signature(image, pair[1], registry)
    assert registry.referrers(Reference.parse(image), image.partition("@")[2]) == []
    assert sign(image, pair[0], registry)
    assert len(registry.referrers(Reference.parse(image), image.partition("@")[2])) == 1
    assert len(signatures(server, image)["layers"]) == 1
    assert not sign(image, pair[0], registry)


def test_either_form_is_enough(server: RegistryServer, registry: Registry, image: str, pair: tuple[str, str]) -> None:
    sign(image, pair[0], registry)
    del server.repository("team/env").tags[f"sha256-{image.rpartition(':')[2]}.sig"]
    assert verify_signature(image, pair[1], registry)


def test_an_image_that_is_not_there_is_not_signed(
    server: RegistryServer, registry: Registry, pair: tuple[str, str]
) -> None:
    with pytest.raises(RegistryError, match=r"expected the image .* to sign, found none"):
        sign(f"{server.host}/team/env@{DIGEST}", pair[0], registry)
    assert not server.repository("team/env").tags


def test_a_key_signs_once_and_keys_lie_side_by_side(
    server: RegistryServer, registry: Registry, image: str, pair: tuple[str, str], other: tuple[str, str]
) -> None:
    assert sign(image, pair[0], registry)
    assert not sign(image, pair[0], registry)
    assert sign(image, other[0], registry)
    assert len(signatures(server, image)["layers"]) == 2
    for _, public in (pair, other):
        assert verify_signature(image, public, registry)
    assert server.dangling() == []


def test_a_signature_of_another_image_is_none_of_this(
    server: RegistryServer, registry: Registry, image: str, pair: tuple[str, str]
) -> None:
    """Whoever can write tags can copy the signature of an old image to a new one."""
    sign(image, pair[0], registry)
    fresh = put_image(server, "team/env", mark="fresh")
    repository = server.repository("team/env")
    repository.tags[fresh.replace(":", "-") + ".sig"] = repository.tags[f"sha256-{image.rpartition(':')[2]}.sig"]
    assert not verify_signature(f"{server.host}/team/env@{fresh}", pair[1], registry)


def test_a_changed_payload_or_type_does_not_count(
    server: RegistryServer, registry: Registry, image: str, pair: tuple[str, str]
) -> None:
    by, name, digest = signer(pair[0]), *image.split("@")
    place = Reference.parse(name).with_tag(digest.replace(":", "-") + ".sig")

    def put(payload: bytes, signature: bytes) -> None:
        layer = {
            "mediaType": SIMPLE,
            "digest": server.put_blob("team/env", payload),
            "size": len(payload),
            "annotations": {SIGNATURE: base64.b64encode(signature).decode()},
        }
        config = {"mediaType": "application/json", "digest": server.put_blob("team/env", b"{}"), "size": 2}
        document = {"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": config, "layers": [layer]}
        registry.put_manifest(place, json.dumps(document).encode(), IMAGE_MANIFEST)

    good = simple(name, digest)
    put(good, by.sign(good))
    assert verify_signature(image, pair[1], registry)
    put(good + b" ", by.sign(good))
    assert not verify_signature(image, pair[1], registry)
    typed = good.replace(b"cosign container image signature", b"something else that was signed")
    put(typed, by.sign(typed))
    assert not verify_signature(image, pair[1], registry)
    put(b"no json", by.sign(b"no json"))
    assert not verify_signature(image, pair[1], registry)


def bundle(key: str, digest: str, *, predicate: str = "https://sigstore.dev/cosign/sign/v1") -> bytes:
    """What cosign 3 attaches: a statement in an envelope (DSSE's own encoding is what is signed)."""
    statement = {"_type": "https://in-toto.io/Statement/v1", "predicateType": predicate, "predicate": {}}
    statement["subject"] = [{"digest": {"sha256": digest.removeprefix("sha256:")}}]
    body = json.dumps(statement).encode()
    kind = "application/vnd.in-toto+json"
    signed = b" ".join([b"DSSEv1", str(len(kind)).encode(), kind.encode(), str(len(body)).encode(), body])
    envelope = {
        "payload": base64.b64encode(body).decode(),
        "payloadType": kind,
        "signatures": [{"sig": base64.b64encode(signer(key).sign(signed)).decode()}],
    }
    return json.dumps({"mediaType": BUNDLE, "dsseEnvelope": envelope}).encode()


@pytest.mark.parametrize("listed", [True, False], ids=["api", "tag"])
def test_a_bundle_among_the_referrers_counts(
    listed: bool, server: RegistryServer, registry: Registry, image: str, pair: tuple[str, str], other: tuple[str, str]
) -> None:
    server.referrers = listed
    name, _, digest = image.partition("@")

    def attach(data: bytes) -> None:
        layer = {"mediaType": BUNDLE, "digest": server.put_blob("team/env", data), "size": len(data)}
        config = {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": server.put_blob("team/env", b"{}"),
            "size": 2,
        }
        document = {
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "artifactType": BUNDLE,
            "config": config,
            "layers": [layer],
            "subject": {"mediaType": IMAGE_MANIFEST, "digest": digest, "size": 2},
        }
        registry.put_referrer(Reference.parse(name), json.dumps(document).encode(), IMAGE_MANIFEST)

    attach(b"{}")
    attach(bundle(other[0], digest))
    attach(bundle(pair[0], DIGEST))
    attach(bundle(pair[0], digest, predicate="https://slsa.dev/provenance/v1"))
    assert not verify_signature(image, pair[1], registry)
    attach(bundle(pair[0], digest))
    assert verify_signature(image, pair[1], registry)


def test_images_that_must_be_signed(
    server: RegistryServer, registry: Registry, image: str, pair: tuple[str, str], other: tuple[str, str]
) -> None:
    fresh = f"{server.host}/team/env@{put_image(server, 'team/env', mark='fresh')}"
    sign(image, pair[0], registry)
    sign(fresh, other[0], registry)
    bare = f"{server.host}/team/env@{put_image(server, 'team/env', mark='bare')}"
    require_signatures({"a": image, "b": image}, pair[1], registry)
    with pytest.raises(RefusedError) as found:
        require_signatures({"a": image, "b": fresh, "c": bare, "d": bare}, pair[1], registry)
    assert found.value.message.splitlines() == [
        f"2 images are not signed by {pair[1]}:",
        f"  b: {fresh}: signed, but not by this key",
        f"  c, d: {bare}: not signed",
    ]
    assert "`sign-key` in [tool.flyte-build] and `flyte-build push`" in (found.value.hint or "")


def test_what_was_pushed_is_signed_whole(server: RegistryServer, registry: Registry, pair: tuple[str, str]) -> None:
    amd, arm = (put_image(server, "team/env", mark=mark) for mark in ("amd", "arm"))
    pushed = push(server, "team/env", {"linux/amd64": amd, "linux/arm64": arm})
    name = pushed.reference.partition("@")[0]
    every = [f"{name}@{digest}" for digest in (amd, arm, pushed.digest)]
    assert sign_pushed([pushed, pushed], pair[0], registry) == every
    assert sign_pushed([pushed], pair[0], registry) == []
    for reference in every:
        assert verify_signature(reference, pair[1], registry)


def test_a_tag_is_neither_signed_nor_verified(registry: Registry, pair: tuple[str, str]) -> None:
    for call in (
        lambda: sign("127.0.0.1:1/a:tag", pair[0], registry),
        lambda: verify_signature("127.0.0.1:1/a:tag", pair[1], registry),
    ):
        with pytest.raises(InputError, match="expected an image by digest"):
            call()


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"critical": []}', b'{"dsseEnvelope": {"payload": "%"}}', b"\xff"]
)
def test_what_is_no_signature_is_passed_over(data: bytes) -> None:
    assert of_simple(data, {SIGNATURE: "AAAA"}) is None
    assert of_simple(simple("a", DIGEST), None) is None
    assert of_simple(simple("a", DIGEST), {SIGNATURE: "no base64!"}) is None
    assert of_bundle(data) == []
