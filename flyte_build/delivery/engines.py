"""Images in an engine of this machine, as values: what one is to have, and what it has. Asks no engine anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..store import Store
from ..store.built import BuiltImage
from .archive import image_name
from .layout import gone, needed

__all__ = ["LoadedImage", "Wanted", "wanted"]


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image in an engine: its ``name`` there, its ``id`` there, and the manifest's ``digest``, as everywhere else.

    ``reused``: it was there already. ``sent``: bytes that went to the engine for it; ``None`` where it takes from the
    store what it lacks, and does not say how much that was.
    """

    environment: str
    platform: str
    name: str
    id: str
    digest: str
    reused: bool
    sent: int | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an engine is to have: ``blobs`` are the (digest, bytes) of manifest, configuration and layers."""

    image: BuiltImage
    name: str
    config: str
    diff_ids: tuple[str, ...]
    layers: tuple[str, ...]
    blobs: tuple[tuple[str, int], ...]

    def loaded(self, identity: str, *, reused: bool, sent: int | None = None) -> LoadedImage:
        image = self.image
        digest = image.manifest_digest
        return LoadedImage(
            image.environment, image.platform, self.name, identity, digest, reused, 0 if reused else sent
        )


def wanted(store: Store, image: BuiltImage) -> Wanted:
    """What ``image`` is made of. Raises :class:`StoreError` where the store does not have all of it."""
    manifest = store.manifest(image.manifest_digest) or {}
    config = store.manifest(manifest["config"]["digest"]) if manifest else None
    if config is None:
        raise gone(image.environment, image.manifest_digest)
    return Wanted(
        image,
        image_name(image.environment, image.derivation),
        manifest["config"]["digest"],
        tuple(config["rootfs"]["diff_ids"]),
        tuple(layer["digest"] for layer in manifest["layers"]),
        tuple(_blobs(store, image)),
    )


def _blobs(store: Store, image: BuiltImage) -> Iterator[tuple[str, int]]:
    for digest in needed(store, image.manifest_digest):
        path = store.blob(digest)
        if path is None:
            raise gone(image.environment, digest)
        yield digest, path.stat().st_size
