"""Where copied local files lie: a locator of what a project's own recipes copy into its images."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..deriving.local_files import sources
from ..deriving.nouns import Artifact
from ..kernel.errors import ArtifactError, FlyteBuildError
from ..recipe import Recipe
from .places import Place

__all__ = ["LocalFiles"]


class LocalFiles:
    """A locator (see ``flyte_build.sources.locators``) of the files that these recipes copy; looks when first asked."""

    def __init__(self, recipes: Iterable[Recipe], root: Path) -> None:
        self._recipes = list(recipes)
        self._root = root
        self._guard = threading.Lock()
        self._paths: dict[str, Path] | None = None

    def places(self, artifact: Artifact) -> Iterator[Place]:
        if artifact.source is not None:
            return
        with self._guard:
            if self._paths is None:
                self._paths = self._find()
        path = self._paths.get(artifact.sha256)
        if path is None:
            raise ArtifactError(
                f"{artifact.file}: no local file has the SHA-256 {artifact.sha256} any more",
                hint="a file changed after it was planned: run again when nothing writes to it",
            )
        yield Place(path.absolute().as_uri())

    def close(self) -> None:
        return None

    def _find(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for recipe in self._recipes:
            try:
                found |= sources(recipe, self._root)
            except FlyteBuildError:
                # Some other environment's files; whoever asks for those will hear of it.
                continue
        return found
