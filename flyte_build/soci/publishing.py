"""Pushed images → SOCI-enabled ones beside them (SOCI index manifest v2): the same layers, and an index bound to them.

A manifest of each platform says the digest of its index, and an image index holds both, so that neither comes without
the other and a copy of it is whole. Layers are in the repository already and are not sent again; no image that was
pushed changes, nor any tag of one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..kernel.canonical import canonical
from ..kernel.errors import StoreError
from ..kernel.reporting import Reporter
from ..registry.reference import Reference
from ..registry.values import EMPTY, IMAGE_INDEX, IMAGE_MANIFEST, digest_of
from ..remote.publishing import PushedImage
from ..remote.threads import each
from ..store import Store
from ..supply.pushing import push_bytes
from .spans import SPAN
from .tables import TOOL, ztoc

if TYPE_CHECKING:
    from ..registry.client import Registry

__all__ = ["LEAST", "SUFFIX", "push_indexed"]

SUFFIX = "-soci"
"""What the tags of the indexed image end in."""
LEAST = 10 << 20
"""Layers of fewer bytes have no table: a node has them sooner than it has asked for their parts."""
_TYPE = "application/vnd.amazon.soci.index.v2+json"
_NOTE = "com.amazon.soci."
_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"

Document = tuple[bytes, dict[str, Any]]
"""A manifest, and its descriptor."""


def push_indexed(
    pushed: Sequence[PushedImage], store: Store, registry: Registry, reporter: Reporter
) -> list[PushedImage]:
    """Push a SOCI-enabled image for each of ``pushed`` that has a layer to be read in parts; the store has all layers.

    Its tags are those of the image and :data:`SUFFIX`; ``platforms`` are the digests of its own manifests. Raises
    :class:`RegistryError` where the registry refuses, :class:`StoreError` for what went from the store.
    """
    found: dict[str, dict[str, Any] | None] = {}
    tables: dict[str, bytes] = {}
    manifests = {d: _manifest(store, d) for image in pushed for d in image.platforms.values()}
    layers = {layer["digest"]: layer for m in manifests.values() for layer in m["layers"] if _counts(layer)}
    with reporter.work("SOCI tables of contents", len(layers)) as progress:
        for digest, layer in layers.items():
            path = store.blob(digest, layer["size"])
            if path is None:
                raise StoreError(f"expected the layer {digest} in the store, found none", hint="push again: it is made")
            table = ztoc(path)
            found[digest] = _described(layer, table) if table is not None else None
            if table is not None:
                tables[digest] = table
            progress.advance()
    out = []
    for image in pushed:
        push = _Push(image, Reference.parse(image.reference), registry)
        done = push.run({p: manifests[d] for p, d in image.platforms.items()}, found, tables)
        if done is None:
            reporter.note(f"{image.environment}: no layer of 10 MiB or more that can be read in parts: no SOCI index")
        else:
            out.append(done)
    return out


def _manifest(store: Store, digest: str) -> dict[str, Any]:
    data = store.document(digest)
    if data is None:
        raise StoreError(f"expected the manifest {digest} in the store, found none", hint="push again")
    made: dict[str, Any] = json.loads(data)
    return made


def _counts(layer: Mapping[str, Any]) -> bool:
    return layer["mediaType"] == _GZIP and int(layer["size"]) >= LEAST


def _described(layer: Mapping[str, Any], table: bytes) -> dict[str, Any]:
    notes = {
        f"{_NOTE}image-layer-digest": layer["digest"],
        f"{_NOTE}image-layer-mediaType": layer["mediaType"],
        f"{_NOTE}span-size": str(SPAN),
    }
    return {**descriptor("application/octet-stream", table), "annotations": notes}


def descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    """The OCI descriptor of ``data``."""
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def soci_index(tables: Sequence[Mapping[str, Any]]) -> Document:
    """The index of one platform's image, over the descriptors of its layers' tables."""
    index: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": descriptor(_TYPE, EMPTY),
        "layers": list(tables),
        "annotations": {f"{_NOTE}build-tool-identifier": TOOL},
    }
    data = canonical(index)
    return data, {**descriptor(IMAGE_MANIFEST, data), "artifactType": _TYPE}


def bound(manifest: Mapping[str, Any], platform: str, index: Mapping[str, Any] | None) -> Document:
    """The image's manifest, saying which index it has; without one as it is."""
    notes = dict(manifest.get("annotations") or {})
    if index is not None:
        notes[f"{_NOTE}index-digest"] = index["digest"]
    data = canonical({**manifest, "annotations": notes} if notes else dict(manifest))
    described = {**descriptor(manifest["mediaType"], data), "platform": _platform(platform)}
    return data, {**described, "annotations": notes} if notes else described


def _platform(platform: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))


class _Push:
    def __init__(self, image: PushedImage, reference: Reference, registry: Registry) -> None:
        self.image, self.registry = image, registry
        self.repository = replace(reference, tag=None, digest=None)

    def run(
        self,
        manifests: Mapping[str, Mapping[str, Any]],
        found: Mapping[str, dict[str, Any] | None],
        tables: Mapping[str, bytes],
    ) -> PushedImage | None:
        """``manifests`` by platform; ``found`` and ``tables`` by layer. ``None`` where no platform has a table."""
        images: list[Document] = []
        indexes: list[Document] = []
        used: dict[str, None] = {}
        for platform, manifest in manifests.items():
            own = [layer["digest"] for layer in manifest["layers"] if found.get(layer["digest"])]
            index = soci_index([row for digest in own if (row := found[digest])]) if own else None
            images.append(bound(manifest, platform, index[1] if index else None))
            if index is not None:
                notes = {f"{_NOTE}image-manifest-digest": images[-1][1]["digest"]}
                indexes.append((index[0], {**index[1], "platform": _platform(platform), "annotations": notes}))
            used |= dict.fromkeys(own)
        if not indexes:
            return None
        rows: list[Any] = [described for _, described in (*images, *indexes)]
        whole = canonical({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": rows})
        digest = digest_of(whole)
        tags = tuple(tag + SUFFIX for tag in self.image.tags)
        missing = [tag for tag in tags if not self._has(self.repository.with_tag(tag), digest)]
        blobs = [EMPTY, *(tables[layer] for layer in used)]
        size = sum(map(len, blobs)) + sum(len(data) for data, _ in (*images, *indexes)) + len(whole)
        if missing:
            each(lambda data: push_bytes(self.registry, self.repository, data, "application/octet-stream"), blobs)
            for data, described in (*images, *indexes):
                place = self.repository.with_digest(described["digest"])
                self.registry.put_manifest(place, data, described["mediaType"])
            for tag in missing:
                self.registry.put_manifest(self.repository.with_tag(tag), whole, IMAGE_INDEX)
        platforms = {p: described["digest"] for p, (_, described) in zip(manifests, images, strict=True)}
        reference = str(self.repository.with_digest(digest))
        sent, there = (size, 0) if missing else (0, size)
        return PushedImage(self.image.environment, reference, digest, platforms, tags, sent, 0, there)

    def _has(self, place: Reference, digest: str) -> bool:
        found = self.registry.head(place)
        return found is not None and found.digest == digest
