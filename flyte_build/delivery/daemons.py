"""Images into an engine of this machine: Docker's daemon, or podman's storage.

The layers go compressed, as they are; what the engine has is not sent again. An engine names an image by its own id,
which for Docker's and podman's storages is the configuration's digest and not the manifest's: both are reported, and
they are checked to be of the same image. Never starts an engine, never removes an image from one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ..building import BuiltImage
from ..errors import InputError
from ..reporting import Reporter
from ..store import Store
from .archive import image_name
from .layout import gone, needed

__all__ = ["ENGINES", "Engine", "LoadedImage", "Wanted", "load", "wanted"]

Engine = Literal["docker", "podman"]
ENGINES: tuple[Engine, ...] = ("docker", "podman")


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


def load(store: Store, images: Sequence[BuiltImage], engine: str, reporter: Reporter) -> list[LoadedImage]:
    """Put ``images`` into ``engine``, each named by :func:`~.archive.image_name`; the result is in their order.

    Raises :class:`InputError` for an engine that is not known or whose client is not installed, :class:`StoreError`
    where the engine cannot be reached or refuses, or the store lacks a blob.
    """
    if engine not in ENGINES:
        raise InputError(f"expected an engine, {' or '.join(ENGINES)}, found `{engine}`")
    with store.reading():
        asked = [wanted(store, image) for image in images]
        if engine == "docker":
            from .dockerd import load_docker

            return load_docker(store, asked, reporter)
        from .podman import load_podman

        return load_podman(store, asked, reporter)


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
