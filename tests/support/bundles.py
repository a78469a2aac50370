"""Bundles of small images of our own, good ones and any others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from flyte_build.building.building import build
from flyte_build.delivery import tarball
from flyte_build.delivery.bundle import Bundled, write_bundle
from flyte_build.delivery.format import INDEX, BundledImage, Entry, Index, parse_index
from flyte_build.delivery.reader import Reader
from flyte_build.deriving.derivation import ImageDerivation
from flyte_build.kernel.reporting import Silent
from flyte_build.locks.nouns import Lock, Pin
from flyte_build.recipe import Platform
from flyte_build.sources.fetching import fetch
from flyte_build.store import Store
from flyte_build.store.built import BuiltImage

from .images import FolderLocator
from .recipes import lock_of, recipe_of

__all__ = ["Site", "pack", "unpack"]


class Site:
    """Where images are made: ``wheels`` holds what they are made of."""

    def __init__(self, store: Store, wheels: Path, images: Sequence[ImageDerivation]) -> None:
        self.store, self.wheels, self.images = store, wheels, list(images)
        self.built: list[BuiltImage] = build(images, store, locator=FolderLocator(wheels), reporter=Silent())
        artifacts = {sha: a for image in images for sha, a in image.artifacts.items()}
        fetch(artifacts.values(), store, locator=FolderLocator(wheels), reporter=Silent())

    def locks(self, *, pinned: bool = True) -> dict[str, Lock]:
        found = {}
        for image, built in zip(self.images, self.built, strict=True):
            platforms = tuple(sorted({i.platform for i in self.images if i.environment == image.environment}))
            recipe = replace(recipe_of("alpha"), platforms=cast("tuple[Platform, ...]", platforms))
            lock = found.get(image.environment) or lock_of(recipe, environment=image.environment)
            pin = {image.platform: Pin(image.hash, built.manifest_digest)} if pinned else {}
            found[image.environment] = replace(lock, pins={**lock.pins, **pin})
        return found

    def bundle(
        self, path: Path, *, images: bool = True, artifacts: bool = True, locks: Mapping[str, Lock] | None = None
    ) -> Bundled:
        built = self.built if images else None
        held = self.locks() if locks is None else locks
        modules = None if artifacts else {"ab" * 32: ["alpha", "alpha.core"]}
        return write_bundle(self.store, self.images, held, built, path, Silent(), modules=modules)


def unpack(path: Path) -> tuple[Index, dict[str, bytes]]:
    """The index and every entry of a good bundle."""
    with path.open("rb") as f:
        reader = Reader(f, path)
        index = reader.index()
        return index, {entry.path: reader.data(entry) for entry in index.entries}


def pack(path: Path, images: Iterable[BundledImage], contents: Mapping[str, bytes], index: bytes | None = None) -> None:
    """A bundle of anything; ``index``: these bytes instead of the index that would be right."""
    members = [tarball.member(name, data) for name, data in contents.items()]
    right = Index.of(images, [Entry(m.path, m.size, m.sha256) for m in members])
    if index is None:
        parse_index(right.to_bytes(), "the test's own")
    order = {entry.path: number for number, entry in enumerate(right.entries)}
    members.sort(key=lambda m: order[m.path])
    first = tarball.member(INDEX, right.to_bytes() if index is None else index)
    path.write_bytes(b"".join(tarball.stream([first, *members])))
