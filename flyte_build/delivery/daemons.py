"""Images into an engine of this machine: Docker's daemon, or podman's storage.

The layers go compressed, as they are; what the engine has is not sent again. An engine names an image by its own id,
which for Docker's and podman's storages is the configuration's digest and not the manifest's: both are reported, and
they are checked to be of the same image. Never starts an engine, never removes an image from one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..kernel.errors import InputError
from ..kernel.reporting import Reporter
from ..store import Store
from ..store.built import BuiltImage
from .engines import LoadedImage, wanted

__all__ = ["ENGINES", "Engine", "load"]

Engine = Literal["docker", "podman"]
ENGINES: tuple[Engine, ...] = ("docker", "podman")


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
