"""Where the layers of registry bases lie, read off the locks: what building them, or over them, asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..deriving.nouns import ImageDerivation
from ..locks.nouns import Lock

__all__ = ["base_repositories"]


def base_repositories(images: Iterable[ImageDerivation], locks: Mapping[str, Lock]) -> dict[str, str]:
    """Where the layers of registry bases lie: layer derivation → ``host/repository``."""
    found: dict[str, str] = {}
    for image in images:
        base = locks[image.environment].platforms[image.platform].base
        if base is not None:
            found |= {x.hash: base.repository for x in image.layers if x.kind == "base"}
    return found
