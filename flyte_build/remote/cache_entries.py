"""How realisations look in a registry's cache repository, and what makes one believable. Pure: no I/O.

An image derivation is the tag ``image-<hex>`` of the image's own manifest. A layer derivation is the tag
``layer-<hex>`` of an artifact manifest (OCI image-spec v1.1, manifest.md, "Guidelines for Artifact Usage") whose first
layer is the layer's blob and whose second is its listing: so the registry's garbage collector keeps the blobs, and an
image can be composed of layers that nobody downloads.

Nothing here is taken at its word where it can be computed: an image's configuration and manifest are made again
from the derivation, and must come out byte by byte. What remains to be believed is that a layer's blob is what its
derivation makes, which is why only configured caches are asked.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..assemble.image import LAYER_TYPE, canonical, descriptor, image_config, image_manifest
from ..assemble.layer import LayerResult
from ..deriving.derivation import ImageDerivation, LayerDerivation
from ..kernel.values import dataclass
from ..store import LayerRealisation
from ..store.realisations import hexadecimal

__all__ = [
    "EMPTY",
    "LAYER_ARTIFACT",
    "LISTING_TYPE",
    "MANIFEST_TYPE",
    "KnownImage",
    "KnownLayer",
    "Unbelievable",
    "image_tag",
    "layer_manifest",
    "layer_tag",
    "media_type",
    "pack_listing",
    "read_image",
    "read_layer",
    "unpack_listing",
]

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
LAYER_ARTIFACT = "application/vnd.flyte-build.layer.v1+json"
LISTING_TYPE = "application/vnd.flyte-build.listing.v1+json+zlib"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
DERIVATION, DIFF_ID, DIFF_SIZE = "build.flyte.derivation", "build.flyte.diff-id", "build.flyte.diff-size"
# A layer's listing has about a hundred bytes a path; nothing real comes near this.
MAX_LISTING = 256 << 20


class Unbelievable(Exception):
    """A cache's entry is not what it should be; the message says what was expected and found."""


@dataclass(frozen=True, slots=True)
class KnownLayer:
    """A layer in a registry: ``repository`` is ``host/name``; ``listing`` the digest and size of its listing's blob,
    ``None`` where only an image told of the layer (then ``diff_size`` is 0, too)."""

    repository: str
    digest: str
    size: int
    diff_id: str
    diff_size: int = 0
    listing: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class KnownImage:
    """An image in a registry's ``repository`` (``host/name``), with its own documents, made here and found there."""

    repository: str
    digest: str
    manifest: bytes
    config: bytes
    layers: tuple[KnownLayer, ...]


def media_type(manifest: bytes) -> str:
    """The media type that a manifest states: a base that is used as it is may be Docker's."""
    return str(_object(manifest, "manifest").get("mediaType") or MANIFEST_TYPE)


def image_tag(derivation: str) -> str:
    """The tag of an image's realisation."""
    return f"image-{hexadecimal(derivation)}"


def layer_tag(derivation: str) -> str:
    """The tag of a layer's realisation."""
    return f"layer-{hexadecimal(derivation)}"


def read_image(image: ImageDerivation, repository: str, manifest: bytes, config: bytes) -> KnownImage:
    """The image that ``manifest`` and ``config`` say ``image`` became.

    Raises :class:`Unbelievable` unless both are byte by byte what the derivation gives on layers of these digests.
    """
    blobs = _rows(_object(manifest, "manifest").get("layers"), "manifest")
    rootfs = _object(config, "configuration").get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or not len(diff_ids) == len(blobs) == len(image.layers):
        raise Unbelievable(f"expected {len(image.layers)} layers, found {len(blobs)}")
    layers, results = [], []
    for layer, blob, diff_id in zip(image.layers, blobs, diff_ids, strict=True):
        known = KnownLayer(repository, _digest(blob.get("digest")), _size(blob.get("size")), _digest(diff_id))
        _check_taken(layer, known)
        layers.append(known)
        results.append(LayerResult(known.digest, known.size, known.diff_id, 0, {}))
    if "verbatim" in image.spec:
        said: Any = image.spec["verbatim"]
        if (_sha(manifest), _sha(config)) != (said["manifest"]["digest"], said["config"]["digest"]):
            raise Unbelievable("it is not the base that was locked")
        return KnownImage(repository, _sha(manifest), manifest, config, tuple(layers))
    expected = image_config(image.spec, results)
    if config != expected:
        raise Unbelievable("its configuration is not the one that the lock gives")
    if manifest != image_manifest(image.spec, expected, results):
        raise Unbelievable("its manifest is not the one that the lock gives")
    return KnownImage(repository, _sha(manifest), manifest, config, tuple(layers))


def layer_manifest(derivation: str, made: LayerRealisation, listing: bytes) -> bytes:
    """The artifact manifest of a layer; ``listing`` is the packed one."""
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": LAYER_ARTIFACT,
            "config": descriptor(EMPTY_TYPE, EMPTY),
            "layers": [
                {"mediaType": LAYER_TYPE, "digest": made.digest, "size": made.size},
                descriptor(LISTING_TYPE, listing),
            ],
            "annotations": {DERIVATION: derivation, DIFF_ID: made.diff_id, DIFF_SIZE: str(made.diff_size)},
        }
    )


def read_layer(layer: LayerDerivation, repository: str, manifest: bytes) -> KnownLayer:
    """What ``manifest`` says that ``layer`` became. Raises :class:`Unbelievable` where it says so of something else."""
    document = _object(manifest, "manifest")
    if document.get("artifactType") != LAYER_ARTIFACT:
        raise Unbelievable(f"expected an artifact of type {LAYER_ARTIFACT}, found {document.get('artifactType')!r}")
    notes = document.get("annotations")
    said = notes if isinstance(notes, dict) else {}
    if said.get(DERIVATION) != layer.hash:
        raise Unbelievable(f"expected the realisation of {layer.hash}, found that of {said.get(DERIVATION)!r}")
    rows = _rows(document.get("layers"), "manifest")
    if [row.get("mediaType") for row in rows] != [LAYER_TYPE, LISTING_TYPE]:
        raise Unbelievable(f"expected a layer and its listing, found {[row.get('mediaType') for row in rows]}")
    blob, listed = rows
    size = said.get(DIFF_SIZE)
    if not isinstance(size, str) or not size.isascii() or not size.isdigit() or len(size) > 18:
        raise Unbelievable(f"expected a number of bytes, found {size!r}")
    known = KnownLayer(
        repository,
        _digest(blob.get("digest")),
        _size(blob.get("size")),
        _digest(said.get(DIFF_ID)),
        int(size),
        (_digest(listed.get("digest")), _size(listed.get("size"))),
    )
    _check_taken(layer, known)
    return known


def _check_taken(layer: LayerDerivation, known: KnownLayer) -> None:
    """A layer that nobody makes is what its derivation says, whoever claims otherwise."""
    if layer.kind in ("base", "sealed") and (known.digest, known.size, known.diff_id) != _said(layer.spec):
        whose = "the base's" if layer.kind == "base" else "the sealed"
        raise Unbelievable(f"expected {whose} layer {layer.spec['digest']}, found {known.digest}")


def pack_listing(listing: Mapping[str, str]) -> bytes:
    """A layer's listing as its blob."""
    return zlib.compress(canonical(dict(listing)), 6)


def unpack_listing(data: bytes) -> dict[str, str]:
    """The listing of a blob; raises :class:`Unbelievable` for anything else, however large it claims to be."""
    try:
        inflater = zlib.decompressobj()
        text = inflater.decompress(data, MAX_LISTING)
        if not inflater.eof or inflater.unused_data:
            raise ValueError("it does not end where it should")
        found = json.loads(text)
    except (zlib.error, ValueError, RecursionError) as e:
        raise Unbelievable(f"its listing cannot be read: {e}") from None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise Unbelievable("its listing is no list of paths")
    return found


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unbelievable(f"expected a {what}, found {len(data)} bytes that are none")
    return found


def _rows(value: object, what: str) -> Sequence[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise Unbelievable(f"expected a {what} with layers, found none")
    return value


def _digest(value: object) -> str:
    try:
        hexadecimal(value)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        raise Unbelievable(f"expected sha256:<64 hexadecimal digits>, found {value!r}") from None
    return str(value)


def _size(value: object) -> int:
    if type(value) is not int or value < 0:
        raise Unbelievable(f"expected a number of bytes, found {value!r}")
    return value


def _said(spec: Mapping[str, Any]) -> tuple[object, object, object]:
    return spec["digest"], spec["size"], spec["diff_id"]


def _sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
