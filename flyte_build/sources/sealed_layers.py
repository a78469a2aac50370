"""Sealed layers on this machine: an artifact that no index has, and that may lie here as a layer of an image."""

from __future__ import annotations

from collections.abc import Iterator

from ..deriving.derivation import Artifact
from ..locks.seals import LockedSeal
from ..store.contents import Contents
from .places import Place

__all__ = ["SealedLayers"]


class SealedLayers:
    """``store`` as a place to have sealed layers from, and the wheels (by SHA-256) that were ``built`` for
    a lock. Fetching hashes what it copies: damage is not taken over."""

    def __init__(self, store: Contents, built: frozenset[str] = frozenset()) -> None:
        self._store, self._built = store, built

    def places(self, artifact: Artifact) -> Iterator[Place]:
        if isinstance(artifact.source, LockedSeal):
            held = self._store.artifact(artifact.sha256, artifact.size)
            made = self._store.blob(artifact.source.digest, artifact.size)
            yield from (Place(path.as_uri()) for path in (held, made) if path is not None)

        elif artifact.sha256 in self._built and (path := self._store.artifact(artifact.sha256, artifact.size)):
            yield Place(path.as_uri())

    def close(self) -> None:
        return None
