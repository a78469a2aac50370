"""The registry client against registries that others wrote, over lines that break; skopeo reads what we pushed."""

from __future__ import annotations

import gzip
import io
import json
import random
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from flyte_build.kernel.errors import RegistryError
from flyte_build.registry import IMAGE_INDEX, IMAGE_MANIFEST, Reference, Registry, StatusError
from tests.support.registries import KINDS, PASSWORD, USER, Real, real_registry
from tests.support.registry import sha256
from tests.support.relay import Relay
from tests.support.tools import need

pytestmark = pytest.mark.integration

guarded = pytest.mark.parametrize("real", ["docker-registry-tls", "docker-registry-token"], indirect=True)
CHUNK = 1 << 20
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"


@pytest.fixture(scope="module", params=KINDS)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    with real_registry(request.param, tmp_path_factory.mktemp("registries") / "one") as running:
        yield running


def blob(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def opened(data: bytes) -> Callable[[int], BinaryIO]:
    return lambda offset: io.BytesIO(data[offset:])


def connected(real: Real, host: str | None = None, **how: Any) -> Registry:
    environ = real.at(host or real.host)
    return Registry(environ=environ, chunk=CHUNK, certificates=(), wait=lambda s: None, **how)


class Image:
    """An image whose layer is a tar of one file."""

    def __init__(self, size: int, seed: int) -> None:
        content = blob(size, seed)
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            member = tarfile.TarInfo("data")
            member.size = size
            archive.addfile(member, io.BytesIO(content))
        self.layer = gzip.compress(tar.getvalue(), 1, mtime=0)
        rootfs = {"type": "layers", "diff_ids": [sha256(tar.getvalue())]}
        config = {"architecture": "amd64", "os": "linux", "config": {"Labels": {"seed": str(seed)}}, "rootfs": rootfs}
        self.config = json.dumps(config).encode()
        document = {"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": _descriptor(CONFIG_TYPE, self.config)}
        self.manifest = json.dumps({**document, "layers": [_descriptor(LAYER_TYPE, self.layer)]}).encode()
        self.digest = sha256(self.manifest)

    def push(self, client: Registry, ref: Reference, **more: Any) -> list[str]:
        done = [client.push_blob(ref, sha256(d), len(d), opened(d), **more) for d in (self.layer, self.config)]
        client.put_manifest(Reference(ref.host, ref.repository), self.manifest, IMAGE_MANIFEST)
        client.put_manifest(ref, self.manifest, IMAGE_MANIFEST)
        return done


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": sha256(data), "size": len(data)}


def test_there_and_back_and_skopeo_reads_it(real: Real, tmp_path: Path) -> None:
    image = Image(5 * CHUNK + 12345, 1)
    ref = Reference.parse(f"{real.host}/team/image:v1")
    with connected(real) as client:
        assert client.manifest(ref) is None
        assert image.push(client, ref) == ["uploaded", "uploaded"]
        found = client.manifest(ref)
        assert found is not None
        assert (found.data, found.digest, found.media_type) == (image.manifest, image.digest, IMAGE_MANIFEST)
        head = client.head(ref)
        assert head is not None
        assert head.digest == image.digest
        assert client.tags(ref) == ["v1"]
        assert client.blob(ref, sha256(image.layer)) == len(image.layer)
        client.pull_blob(ref, sha256(image.layer), len(image.layer), tmp_path / "layer")
        assert (tmp_path / "layer").read_bytes() == image.layer
        assert client.read_blob(ref, sha256(image.config)) == image.config
    told = json.loads(real.skopeo("inspect", f"docker://{ref}"))
    assert told["Digest"] == image.digest
    assert told["Labels"] == {"seed": "1"}
    real.skopeo("copy", f"docker://{ref}", f"oci:{tmp_path / 'layout'}:v1", side="src-")
    assert (tmp_path / "layout" / "blobs" / "sha256" / sha256(image.layer)[7:]).read_bytes() == image.layer
    copied = json.loads((tmp_path / "layout" / "index.json").read_text())["manifests"][0]
    assert copied["digest"] == image.digest


def test_skopeo_pushes_and_we_read_it(real: Real, tmp_path: Path) -> None:
    image = Image(CHUNK, 2)
    ref = Reference.parse(f"{real.host}/from/skopeo:v1")
    with connected(real) as client:
        image.push(client, ref.with_tag("v0"))
        real.skopeo("copy", f"docker://{ref.with_tag('v0')}", f"oci:{tmp_path}:v1", side="src-")
        real.skopeo("copy", f"oci:{tmp_path}:v1", f"docker://{ref}", side="dest-")
        found = client.manifest(ref)
        assert found is not None
        assert found.digest == image.digest
        assert sorted(client.tags(ref)) == ["v0", "v1"]


def test_what_is_there_does_not_travel(real: Real) -> None:
    image = Image(4 * CHUNK, 3)
    with Relay(real.host) as line, connected(real, line.host) as client:
        ref = Reference.parse(f"{line.host}/team/again:v1")
        image.push(client, ref)
        assert line.passed["up"] > 4 * CHUNK
        line.zero()
        assert image.push(client, ref.with_tag("v2")) == ["exists", "exists"]
        assert line.passed["up"] < 20_000


def test_a_neighbours_blobs_do_not_travel(real: Real) -> None:
    image = Image(4 * CHUNK, 4)
    with Relay(real.host) as line, connected(real, line.host) as client:
        image.push(client, Reference.parse(f"{line.host}/base/python:v1"))
        line.zero()
        done = image.push(client, Reference.parse(f"{line.host}/team/mounted:v1"), mount_from=["base/python"])
        # crane's has all blobs in one place.
        assert done == (["exists"] * 2 if real.kind == "crane" else ["mounted"] * 2)
        assert line.passed["up"] < 20_000
        if real.tokens is not None:
            assert ["repository:base/python:pull", "repository:team/mounted:pull,push"] in real.tokens.asked


def test_an_index(real: Real) -> None:
    images = [Image(1000, 5), Image(1000, 6)]
    ref = Reference.parse(f"{real.host}/team/multi:v1")
    with connected(real) as client:
        for n, image in enumerate(images):
            image.push(client, ref.with_tag(f"part{n}"))
        platforms = [{"os": "linux", "architecture": a} for a in ("amd64", "arm64")]
        entries = [
            {**_descriptor(IMAGE_MANIFEST, i.manifest), "platform": p} for i, p in zip(images, platforms, strict=True)
        ]
        index = json.dumps({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": entries}).encode()
        assert client.put_manifest(ref, index, IMAGE_INDEX).digest == sha256(index)
        found = client.manifest(ref)
        assert found is not None
        assert (found.media_type, found.data) == (IMAGE_INDEX, index)
    raw = real.skopeo("inspect", "--raw", f"docker://{ref}")
    assert raw.encode() == index


def test_referrers(real: Real) -> None:
    image = Image(1000, 7)
    ref = Reference.parse(f"{real.host}/team/signed:v1")
    with connected(real) as client:
        image.push(client, ref)
        empty = b"{}"
        client.push_blob(ref, sha256(empty), 2, opened(empty))
        digests = []
        for kind in ("example/sbom", "example/provenance"):
            document = {"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "artifactType": kind, "layers": []}
            document["config"] = _descriptor("application/vnd.oci.empty.v1+json", empty)
            document["subject"] = _descriptor(IMAGE_MANIFEST, image.manifest)
            digests.append(client.put_referrer(ref, json.dumps(document).encode(), IMAGE_MANIFEST).digest)
        assert sorted(d["digest"] for d in client.referrers(ref, image.digest)) == sorted(digests)
        assert [d["digest"] for d in client.referrers(ref, image.digest, "example/sbom")] == digests[:1]


@pytest.mark.parametrize("at", [1, 600, CHUNK // 2, CHUNK + 100, 3 * CHUNK, 4 * CHUNK + 700])
def test_a_push_over_a_line_that_breaks(real: Real, at: int) -> None:
    image = Image(4 * CHUNK, at)
    with Relay(real.host) as line, connected(real, line.host) as client:
        ref = Reference.parse(f"{line.host}/team/broken{at}:v1")
        line.cut("up", at)
        image.push(client, ref)
        assert line.uncut == 0
        found = client.manifest(ref)
        assert found is not None
        assert found.digest == image.digest
        assert client.read_blob(ref, sha256(image.layer)) == image.layer


@pytest.mark.parametrize("at", [1, 150, 400, 900])
def test_a_push_whose_answers_are_lost(real: Real, at: int) -> None:
    image = Image(4 * CHUNK, at)
    with Relay(real.host) as line, connected(real, line.host) as client:
        ref = Reference.parse(f"{line.host}/team/unanswered{at}:v1")
        for n in range(3):
            line.cut("down", at + 37 * n)
        image.push(client, ref)
        assert client.read_blob(ref, sha256(image.layer)) == image.layer


def test_a_pull_over_a_line_that_breaks(real: Real, tmp_path: Path) -> None:
    image = Image(4 * CHUNK, 8)
    size = len(image.layer)
    with Relay(real.host) as line, connected(real, line.host) as client:
        ref = Reference.parse(f"{line.host}/team/pulled:v1")
        image.push(client, ref)
    with Relay(real.host) as line, connected(real, line.host) as client:
        ref = Reference.parse(f"{line.host}/team/pulled:v1")
        client.tags(ref)
        line.zero()
        for at in (CHUNK, CHUNK // 2, CHUNK):
            line.cut("down", at)
        client.pull_blob(ref, sha256(image.layer), size, tmp_path / "layer")
        assert line.uncut == 0
        assert (tmp_path / "layer").read_bytes() == image.layer
        if real.kind != "crane":
            assert line.passed["down"] < size + size // 4, "it went on from where it was"


@pytest.mark.parametrize("real", [k for k in KINDS if k != "crane"], indirect=True)  # crane's takes any manifest
def test_a_manifest_whose_blobs_are_missing(real: Real) -> None:
    ref = Reference.parse(f"{real.host}/team/missing:v1")
    with connected(real) as client:
        with pytest.raises(StatusError, match=r"400 Bad Request: .*UNKNOWN"):
            client.put_manifest(ref, Image(10, 9).manifest, IMAGE_MANIFEST)
        assert client.tags(ref) == []


def test_bytes_that_are_others(real: Real) -> None:
    """The registry's own check, since ours comes first otherwise."""
    data = blob(1000, 10)
    ref = Reference.parse(f"{real.host}/team/other:v1")
    with connected(real) as client:
        with pytest.raises(RegistryError, match="not pushed"):
            client.push_blob(ref, sha256(data), 1000, opened(data[::-1]))
        assert client.blob(ref, sha256(data)) is None


@pytest.mark.parametrize("wrong", ["nobody", "password"])
@guarded
def test_who_is_not_let_in(real: Real, wrong: str) -> None:
    environ = {k: v for k, v in real.environ.items() if not k.startswith("FLYTE_BUILD")}
    if wrong == "password":
        environ = {**real.environ, "FLYTE_BUILD_REGISTRY_PASSWORD": "battery-staple"}
    with Registry(environ=environ, certificates=()) as client:
        with pytest.raises(StatusError, match=": 401 Unauthorized") as e:
            client.tags(Reference.parse(f"{real.host}/team/image"))
    assert "docker login" in str(e.value.hint)
    assert "staple" not in e.value.message


@guarded
def test_a_login_of_skopeo_is_ours_too(real: Real, tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    command = [need("skopeo"), "login", f"--authfile={file}", f"--username={USER}", "--password-stdin"]
    trust = [f"--cert-dir={real.authority.parent}"] if real.authority else ["--tls-verify=false"]
    subprocess.run(
        [*command, *trust, real.host], input=PASSWORD, text=True, check=True, capture_output=True, timeout=60
    )
    environ = {k: v for k, v in real.environ.items() if not k.startswith("FLYTE_BUILD")}
    with Registry(environ={**environ, "REGISTRY_AUTH_FILE": str(file)}, certificates=()) as client:
        assert client.manifest(Reference.parse(f"{real.host}/team/none:v1")) is None


@pytest.mark.parametrize("real", ["docker-registry-token"], indirect=True)
def test_a_token_that_ends_in_the_middle(real: Real) -> None:
    """docker-registry allows for a minute between clocks, so these tokens are good for a second or two."""
    data = blob(6 * CHUNK, 11)
    ref = Reference.parse(f"{real.host}/team/expired:v1")
    tokens, sent, before = real.tokens, 0, 0
    assert tokens is not None

    def advance(count: int) -> None:
        nonlocal sent, before
        sent += count
        if sent == 3 * CHUNK:
            time.sleep(2.5)
            tokens.life, before = 300, len(tokens.asked)

    tokens.life = -58
    try:
        with connected(real) as client:
            assert client.push_blob(ref, sha256(data), len(data), opened(data), advance=advance) == "uploaded"
            assert len(tokens.asked) == before + 1
            assert client.read_blob(ref, sha256(data)) == data
    finally:
        tokens.life = 300
