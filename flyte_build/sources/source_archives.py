"""Source distributions by their hash: files of the indexes that are configured, or that a recipe names."""

from __future__ import annotations

from collections.abc import Iterator

from ..deriving.derivation import Artifact
from ..locks.builds import LockedSource
from .locators import WheelLocator
from .places import Place

__all__ = ["SourceArchives"]


class SourceArchives(WheelLocator):
    """As wheels are found, but for artifacts of :class:`LockedSource`: a file of another hash is never given."""

    def places(self, artifact: Artifact) -> Iterator[Place]:
        source = artifact.source
        if not isinstance(source, LockedSource):
            return
        seen = set()
        for settings in self._every():
            client = self._clients.of(settings)
            for file in client.files(source.name):
                if file.name == source.file and file.sha256 in (None, source.sha256) and file.url not in seen:
                    seen.add(file.url)
                    yield Place(file.url, None if file.url.startswith("file:") else client.stream)
