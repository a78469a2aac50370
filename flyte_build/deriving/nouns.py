"""The nouns of derivations: what bytes are needed, what a layer and what an image is made of. Values with hashes.

How a lock becomes them is in ``derivation.py``, which documents the specs too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from ..kernel.canonical import Json, digest
from ..kernel.values import dataclass, field
from ..locks.builds import LockedSource
from ..locks.nouns import LockedDeb, LockedPython, LockedSeal, LockedWheel
from ..recipe import CondaPackage

__all__ = ["Artifact", "Copied", "FileEntry", "ImageDerivation", "LayerDerivation"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """Bytes an image needs: a locked wheel, .deb, Python or conda package, a sealed layer, or a local file. ``size``
    in bytes."""

    sha256: str
    size: int
    file: str
    source: LockedWheel | LockedDeb | LockedPython | CondaPackage | LockedSeal | LockedSource | None = None


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One entry of a copied tree: exactly one of ``sha256`` (a file), ``link`` (a symlink) or neither (a folder)."""

    path: str
    mode: int
    sha256: str | None = None
    size: int = 0
    link: str | None = None


class Copied(dict[int, list[FileEntry]]):
    """What the copy steps of a recipe copy, by their place; ``stages``: the same of each of its stages."""

    stages: tuple[Copied, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerDerivation:
    """One layer: ``spec`` is what the assembler executes, ``artifacts`` the bytes it needs."""

    spec: Mapping[str, Json]
    artifacts: tuple[Artifact, ...]
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        # The title says what a person sees in the history; it is part of the image, not of the layer's bytes.
        identity = {k: v for k, v in self.spec.items() if k != "title"}
        object.__setattr__(self, "hash", digest(cast(Json, identity)))

    @property
    def kind(self) -> str:
        return str(self.spec["kind"])

    @property
    def title(self) -> str:
        return str(self.spec["title"])

    @property
    def fetch_size(self) -> int:
        """Bytes of all artifacts, as fetched."""
        return sum(a.size for a in self.artifacts)


@dataclass(frozen=True, slots=True)
class ImageDerivation:
    """One environment's image on one platform."""

    environment: str
    platform: str
    layers: tuple[LayerDerivation, ...]
    spec: Mapping[str, Json]
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", digest(cast(Json, self.spec)))

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """Everything the image needs, by SHA-256."""
        return {a.sha256: a for layer in self.layers for a in layer.artifacts}
