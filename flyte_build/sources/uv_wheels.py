"""A locator of the wheels that uv named for a project: only where the project allows, and as its files say now.

Locks hold names and hashes, so that this is configuration like any other (law 1); but unlike an ordinary package, one
of a project is asked of no index that its project did not allow for it, not even by name.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..deriving.nouns import Artifact
from ..kernel.errors import FetchError, FlyteBuildError
from ..locks.lockfile import Lock, LockedWheel
from ..recipe import PipInstall, Recipe
from .index_clients import IndexClients
from .places import Place

if TYPE_CHECKING:
    from .indexes import IndexSettings
    from .uv_projects import UvSources

__all__ = ["UvWheels"]


class UvWheels:
    """For recipes and locks by environment. What it answers for it answers for alone: no other place is asked then."""

    def __init__(
        self, recipes: Mapping[str, Recipe], locks: Mapping[str, Lock], root: Path, *, hurried: bool = False
    ) -> None:
        self._recipes, self._locks, self._root = recipes, locks, root
        built = (b.source for lock in locks.values() for p in lock.platforms.values() for b in p.builds)
        self._commits = {s.asked: s.commit for s in built if s.asked is not None and s.commit is not None}
        self._guard = threading.RLock()
        self._sources: dict[PipInstall, UvSources | FlyteBuildError] = {}
        self._clients = IndexClients(hurried=hurried)

    def places(self, artifact: Artifact) -> Iterator[Place]:
        wheel = artifact.source
        if not isinstance(wheel, LockedWheel):
            return
        owners, others = self._owners(wheel)
        seen: set[str] = set()
        asked: list[IndexSettings] = []
        errors: list[FetchError] = []
        for sources in owners:
            for stated, settings in sources.places(wheel):
                if stated is not None and stated not in seen:
                    seen.add(stated)
                    yield self._place(stated, sources.every)
                if settings.indexes or settings.find_links:
                    asked.append(settings)
                    try:
                        for location in self._clients.of(settings).locate(artifact.file, artifact.sha256):
                            if location.url not in seen:
                                seen.add(location.url)
                                yield self._place(location.url, settings)
                    except FetchError as e:
                        errors.append(e)
        if not owners or others:
            return
        if errors:
            raise errors[0]
        if asked and not seen:
            raise self._clients.of(asked[0]).nowhere(artifact.file, artifact.sha256)
        project = owners[0].files.main.file
        raise FetchError(
            f"{artifact.file}: expected SHA-256 {artifact.sha256}; no place that {project} allows has it",
            hint="look at the uv.lock and [tool.uv.sources]; when they changed, lock again",
        )

    def _place(self, url: str, settings: IndexSettings) -> Place:
        return Place(url, None if url.startswith("file:") else self._clients.of(settings).stream)

    def _owners(self, wheel: LockedWheel) -> tuple[list[UvSources], bool]:
        """The projects that ``wheel`` is of, and whether it is of an image that took it from the ordinary indexes."""
        owners: list[UvSources] = []
        others = False
        for name, recipe in self._recipes.items():
            lock = self._locks.get(name)
            found = (
                {w.step for p in lock.platforms.values() for w in p.wheels if w.sha256 == wheel.sha256} if lock else ()
            )
            if lock is not None and not found:
                continue
            at = found or {wheel.step}
            steps = [(step, n in at) for n, step in enumerate(recipe.pip_steps, 1) if step.uv is not None]
            mine = [s for step, here in steps if (s := self._of(step, wheel, here)) is not None]
            owners += mine
            others = others or (bool(found) and not mine)
        return owners, others

    def _of(self, step: PipInstall, wheel: LockedWheel, here: bool) -> UvSources | None:
        """The project of ``step`` where ``wheel`` is its: it lies in this step (``here``), or the project names it."""
        from .indexes import configured
        from .uv_projects import UvSources

        with self._guard:
            if step not in self._sources:
                try:
                    self._sources[step] = UvSources(step, self._root, configured(self._root), self._commits)
                except FlyteBuildError as e:
                    self._sources[step] = e
            sources = self._sources[step]
        if isinstance(sources, FlyteBuildError):
            assert step.uv is not None
            for package, indexes in step.uv.indexes:
                if package == wheel.name:
                    only = " or ".join(f"`{index}`" for index in indexes)
                    raise FetchError(
                        f"{wheel.file}: is to be asked of the index {only} only, and where that is {step.uv.file} "
                        f"says: {sources.message}",
                        hint="run this where the project is, or bring the file into the store from there",
                    )
            return None
        return sources if here or sources.owns(wheel) else None

    def close(self) -> None:
        self._clients.close()
