"""Sources of wheels by their hash: source distributions of the indexes that are configured, or that a recipe names; and
what it names by its location: archives, and repositories and folders, made into the archives that they were when they
were locked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType

from ..deriving.derivation import Artifact
from ..kernel.canonical import digest
from ..kernel.errors import FetchError
from ..kernel.scratch import scratch
from ..locks.builds import LockedSource
from ..recipe import Recipe, SourceTree
from ..recipe.uv_projects import read_uv_files
from .index_clients import IndexClients
from .lent import filled_tree
from .located_files import place_of
from .locators import WheelLocator
from .places import Place
from .source_trees import archived
from .uv_beyond import beyond
from .uv_trees import trees_of

__all__ = ["SourceArchives", "TreeArchives"]


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


class TreeArchives:
    """Repositories at the locked commit, folders and files as they are, archives by their addresses."""

    def __init__(self, recipes: Iterable[Recipe], root: Path, commits: Mapping[str, str]) -> None:
        self._steps = [step for recipe in recipes for step in recipe.pip_steps]
        self._trees = {digest(tree.to_json()): (tree, step) for step in self._steps for tree in step.sources}
        self._root, self._opened, self._clients = root, ExitStack(), IndexClients()
        self._commits = commits

    @classmethod
    def of(
        cls, recipes: Iterable[Recipe], root: Path, commits: Mapping[str, str] = MappingProxyType({})
    ) -> TreeArchives:
        """``commits``: those that a lock has, for what the repositories of uv projects say in turn."""
        return cls(recipes, root, commits)

    def places(self, artifact: Artifact) -> Iterator[Place]:
        source = artifact.source
        if not isinstance(source, LockedSource) or source.asked is None:
            return
        named = self._trees.get(source.asked)
        tree = filled_tree(*named) if named is not None else self._of_projects(source.asked)
        place = place_of(tree, self._root, self._clients) if tree is not None and tree.file is not None else None
        if place is not None:
            yield place
            return
        if tree is None or (tree.git or tree.url or "").startswith("sha256:"):
            raise FetchError(
                f"{source.file}: the lock alone does not say where it is from",
                hint="name the file that defines the environment, or get the wheel from a cache or a bundle",
            )
        path, _ = archived(tree, self._root, source.commit, self._opened.enter_context(scratch()))
        yield Place(path.as_uri())

    def _of_projects(self, asked: str) -> SourceTree | None:
        """What the recipes' uv projects name, or their repositories do."""
        read = []
        for step in self._steps:
            if step.uv is not None:
                lock = self._root / step.uv.lock if step.uv.lock is not None else None
                read.append(read_uv_files(self._root / step.uv.file, lock))
        named = next((tree for files in reversed(read) if (tree := trees_of(files).get(asked)) is not None), None)
        if named is not None:
            return named
        return next((t for files in read if (t := beyond(files, self._commits).trees.get(asked)) is not None), None)

    def close(self) -> None:
        self._clients.close()
        self._opened.close()
