"""Signatures of images in registries, as cosign keeps them: made with a key, verified with its public half.

A signature is stored beside the image in the two places that cosign looks at: under the tag ``sha256-<hex>.sig``, as a
layer of an image of its own, and as a referrer. Several keys' lie side by side; either place counts when verifying.
Never signs a tag: what it names can change between a look and a signature. No transparency log, no certificates: who
wants keyless signatures takes cosign itself.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from ..kernel.errors import InputError, RefusedError, RegistryError
from ..registry.reference import Reference
from ..registry.values import EMPTY, IMAGE_MANIFEST, Descriptor, Manifest
from ..remote.threads import each
from .keys import PublicKey, Signer, public_key, signer
from .pushing import EMPTY_TYPE, push_bytes
from .signature_formats import (
    BUNDLE,
    BUNDLE_NOTES,
    SIGNATURE,
    SIMPLE,
    Signed,
    bundle,
    enveloped,
    of_bundle,
    of_simple,
    simple,
    statement,
)

if TYPE_CHECKING:
    from ..registry.client import Registry
    from ..remote.publishing import PushedImage

__all__ = ["Signatures", "require_signatures", "sign", "sign_pushed", "verify_signature"]

_CONFIG = "application/vnd.oci.image.config.v1+json"
# What cosign gives an empty config's times: no clock is read.
_NEVER = "0001-01-01T00:00:00Z"
# A signature's payload is some hundred bytes; more than so many signatures, nobody reads.
_MAX_PAYLOAD = 1 << 20
_MAX_SIGNATURES = 200


@dataclass(frozen=True, slots=True)
class Signatures:
    """What was found with the image ``reference``: ``valid``, one by the key; ``others``, some, but none by the key."""

    reference: str
    valid: bool
    others: bool

    def __bool__(self) -> bool:
        return self.valid


def sign(reference: str, key: str | Signer, registry: Registry) -> bool:
    """Sign the image ``host/repository@sha256:…``, unless this key has signed it; ``True`` where one was added.

    ``key`` as :func:`flyte_build.supply.keys.signer` takes it. Raises :class:`InputError` for a key that cannot sign
    and for a reference without a digest, :class:`RegistryError` where the registry refuses, or has no such image.
    """
    image, digest = _image(reference)
    by = signer(key) if isinstance(key, str) else key
    subject = registry.head(image.with_digest(digest))
    if subject is None:
        raise RegistryError(f"{image}: expected the image {digest} to sign, found none", hint="push the image first")
    there = registry.manifest(image.with_tag(_tag(digest)))
    signed = any(_holds(by.public, one, digest) for one in _simple(there, image, registry))
    if not signed:
        _put_simple(by, image, digest, there, registry)
    bundled = any(_holds(by.public, one, digest) for one in _bundles(image, digest, registry))
    if not bundled:
        _put_bundle(by, image, subject, registry)
    return not (signed and bundled)


def sign_pushed(pushed: Sequence[PushedImage], key: str, registry: Registry) -> list[str]:
    """Sign what was pushed, the manifest of each platform and the index over them; the references newly signed.

    Clients ask for either: an engine resolves an index to a manifest, and may verify the one or the other. The key is
    opened once. Raises as :func:`sign`.
    """
    by = signer(key)
    wanted: dict[str, None] = {}
    for one in pushed:
        named = Reference.parse(one.reference)
        for digest in (*one.platforms.values(), one.digest):
            wanted[str(named.with_digest(digest))] = None
    return [reference for reference in wanted if sign(reference, by, registry)]


def _put_simple(by: Signer, image: Reference, digest: str, there: Manifest | None, registry: Registry) -> None:
    """Add a layer to the image of signatures, which is ``there`` or not yet."""
    data = simple(image.name, digest)
    note = base64.b64encode(by.sign(data)).decode()
    layer = {**push_bytes(registry, image, data, SIMPLE), "annotations": {SIGNATURE: note}}
    layers = [*(there.json.get("layers", []) if there is not None else []), layer]
    config = {
        "architecture": "",
        "created": _NEVER,
        "history": [{"created": _NEVER} for _ in layers],
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [one["digest"] for one in layers]},
        "config": {},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": push_bytes(registry, image, _text(config), _CONFIG),
        "layers": layers,
    }
    registry.put_manifest(image.with_tag(_tag(digest)), _text(manifest), IMAGE_MANIFEST)


def _put_bundle(by: Signer, image: Reference, subject: Descriptor, registry: Registry) -> None:
    body = statement(subject.digest)
    data = bundle(body, by.sign(enveloped(body)), by.public.hint)
    manifest = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "artifactType": BUNDLE,
        "config": push_bytes(registry, image, EMPTY, EMPTY_TYPE),
        "layers": [push_bytes(registry, image, data, BUNDLE)],
        "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size},
        "annotations": BUNDLE_NOTES,
    }
    registry.put_referrer(image, _text(manifest), IMAGE_MANIFEST)


def _text(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def verify_signature(reference: str, key: str | PublicKey, registry: Registry) -> Signatures:
    """Look for a signature of the image ``host/repository@sha256:…`` by ``key``; true where there is one.

    ``key`` as :func:`flyte_build.supply.keys.public_key` takes it. Raises :class:`InputError` for what is no key and
    for a reference without a digest, :class:`RegistryError` where the registry cannot be asked.
    """
    image, digest = _image(reference)
    by = public_key(key) if isinstance(key, str) else key
    others = False
    for signed in chain(
        _simple(registry.manifest(image.with_tag(_tag(digest))), image, registry), _bundles(image, digest, registry)
    ):
        if _holds(by, signed, digest):
            return Signatures(reference, True, False)
        others = True
    return Signatures(reference, False, others)


def require_signatures(images: Mapping[str, str], key: str, registry: Registry) -> None:
    """Raise :class:`RefusedError` that names every image (environment → reference by digest) not signed by ``key``."""
    by = public_key(key)
    environments: dict[str, list[str]] = {}
    for environment, reference in images.items():
        environments.setdefault(reference, []).append(environment)
    results: Sequence[Signatures] = each(lambda r: verify_signature(r, by, registry), list(environments))
    missing = [found for found in results if not found]
    if not missing:
        return
    lines = []
    for found in missing:
        why = "signed, but not by this key" if found.others else "not signed"
        lines.append(f"  {', '.join(sorted(environments[found.reference]))}: {found.reference}: {why}")
    what = "1 image is" if len(missing) == 1 else f"{len(missing)} images are"
    raise RefusedError(
        f"{what} not signed by {by.name}:\n" + "\n".join(lines),
        hint="sign what you trust: `sign-key` in [tool.flyte-build] and `flyte-build push`, or `cosign sign --key KEY "
        "REFERENCE`; `verify-key` there says whose signatures are wanted",
    )


def _image(reference: str) -> tuple[Reference, str]:
    parsed = Reference.parse(reference)
    if parsed.digest is None:
        raise InputError(
            f"expected an image by digest (`host/repository@sha256:…`), found `{reference}`",
            hint="a tag can name another image by the time that its signature is looked at",
        )
    return Reference(parsed.host, parsed.repository), parsed.digest


def _tag(digest: str) -> str:
    return digest.replace(":", "-") + ".sig"


def _holds(key: PublicKey, signed: Signed, digest: str) -> bool:
    return signed.digest == digest and key.verifies(signed.signature, signed.data)


def _simple(manifest: Manifest | None, image: Reference, registry: Registry) -> Iterator[Signed]:
    """The signatures under the ``.sig`` tag."""
    for layer in _layers(manifest, SIMPLE):
        data = registry.read_blob(image, layer["digest"], _MAX_PAYLOAD)
        if (signed := of_simple(data, layer.get("annotations"))) is not None:
            yield signed


def _bundles(image: Reference, digest: str, registry: Registry) -> Iterator[Signed]:
    """The signatures among the referrers. In the list that cosign keeps under the fallback tag, their type is wrong."""
    for descriptor in registry.referrers(image, digest)[:_MAX_SIGNATURES]:
        if descriptor.get("artifactType") not in (BUNDLE, EMPTY_TYPE, None):
            continue
        manifest = registry.manifest(image.with_digest(str(descriptor.get("digest"))))
        for layer in _layers(manifest, BUNDLE):
            yield from of_bundle(registry.read_blob(image, layer["digest"], _MAX_PAYLOAD))


def _layers(manifest: Manifest | None, media_type: str) -> list[dict[str, Any]]:
    layers = manifest.json.get("layers") if manifest is not None else None
    if not isinstance(layers, list):
        return []
    wanted = [one for one in layers if isinstance(one, dict) and one.get("mediaType") == media_type]
    return [one for one in wanted if isinstance(one.get("digest"), str)][:_MAX_SIGNATURES]
