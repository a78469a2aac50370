"""Where the layers of registry bases lie, read off the locks: what building them, or over them, asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..deriving.derivation import base_layers
from ..deriving.nouns import ImageDerivation
from ..locks.nouns import Lock

__all__ = ["base_repositories"]


def base_repositories(images: Iterable[ImageDerivation], locks: Mapping[str, Lock]) -> dict[str, str]:
    """Where the layers of registry bases lie, those of stages included: layer derivation → ``host/repository``."""
    found: dict[str, str] = {}
    for image in images:
        locked = locks[image.environment].platforms[image.platform]
        for stage in locked.stages:
            if stage.base is not None:
                found |= {layer.hash: stage.base.repository for layer in base_layers(stage.base)}
        if locked.base is not None:
            repository = locked.base.repository
            found = {x.hash: repository for x in image.layers if x.kind == "base"} | found
    return found
