"""Source distributions that a lock needs wheels of: fetched, and built over the environment's image.

Joins locking, which says what has to be built, with building, which does it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ..kernel.errors import FetchError, LockError, SealError
from ..kernel.reporting import Reporter
from ..kernel.scratch import scratch
from ..locks.builds import LockedBuild, LockedSource
from ..locks.lockfile import read
from ..locks.nouns import LockedDeb, LockedPlatform
from ..recipe import Recipe
from ..settings import Settings
from ..store import Store
from ..store.files import share
from .sealing import foreign

if TYPE_CHECKING:
    from ..locking.pypi.sources import Built, ToBuild
    from ..sealing import Stages
    from ..sources.places import Locator

__all__ = ["SourceBuilds"]

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Known:
    record: LockedBuild
    file: str
    tools: tuple[LockedDeb, ...] = ()


class SourceBuilds:
    """The builds of one ``lock``; a context manager, as wheels lie under their names in a folder of its own."""

    def __init__(
        self,
        recipes: Mapping[str, Recipe],
        lockfiles: Path,
        root: Path,
        store: Store,
        settings: Settings,
        reporter: Reporter,
    ) -> None:
        self._recipes, self._lockfiles, self._root = recipes, lockfiles, root
        self._store, self._settings, self._reporter = store, settings, reporter
        self._stack = ExitStack()
        self._folder: Path | None = None
        self._stages: Stages | None = None

    def __enter__(self) -> SourceBuilds:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    def __call__(
        self, recipe: Recipe, part: LockedPlatform, asked: ToBuild, tools: Callable[[], tuple[LockedDeb, ...]]
    ) -> Built:
        """The wheel of a source for the environment that ``recipe`` is of; ``part`` is what lies below its packages.

        What does not build by itself is tried once more with ``tools``, which no image has. What is a wheel is brought
        into the store.

        Raises :class:`FetchError`, :class:`ResolutionError` where this machine cannot build for the platform, and what
        building raises.
        """
        from ..locking.pypi.sources import Built

        source = self._source(asked)
        if source.file.endswith(".whl"):
            return Built(self._named_so(source.sha256, source.file), None)
        known = self._known(asked, source)
        if known is None:
            known = self._made(recipe, part, asked, source, tools)
        return Built(self._named_so(known.record.wheel, known.file), known.record, known.tools)

    def _named_so(self, sha256: str, file: str) -> Path:
        """The artifact under its own name, as resolvers read it."""
        if self._folder is None:
            self._folder = self._stack.enter_context(scratch())
        path = self._folder / sha256 / file
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            share(self._store.artifact_path(sha256), path)
        return path

    def _known(self, asked: ToBuild, source: LockedSource) -> _Known | None:
        """As a lock has it for the same platform and Python, where the store has the wheel."""
        for name in self._recipes:
            try:
                lock = read(self._lockfiles, name)
            except LockError:
                continue  # locking has said so by now
            held = lock.platforms.get(asked.target.platform) if lock and lock.python == asked.target.python else None
            for record in held.builds if held else ():
                wheel = next((w for w in held.wheels if w.sha256 == record.wheel), None) if held else None
                if record.source == source and wheel and self._store.sound(wheel.sha256, wheel.size, wheel.file):
                    return _Known(record, wheel.file, held.tools if held and record.native else ())
        return None

    def _made(
        self,
        recipe: Recipe,
        part: LockedPlatform,
        asked: ToBuild,
        source: LockedSource,
        tools: Callable[[], tuple[LockedDeb, ...]],
    ) -> _Known:
        from ..building.sealed import Sealer, keeping, limits_of
        from ..building.wheels import WheelMaker
        from ..locking.pypi.sources import CannotRun
        from ..remote.connecting import connected

        platform = asked.target.platform
        if (here := foreign(platform, lent=True)) is not None:
            raise CannotRun(
                f"environment {asked.environment}: {asked.name} {asked.version} has no wheel for {platform}, and this "
                f"machine ({here}) runs no programs for it, to build one",
                hint=f'where the image is to run on {here} only, say so: `platform=("{here}",)` of its base; else '
                f"lock on a machine of {platform}",
            )
        why = f"no index has a wheel of {asked.name}: " if asked.origin is None else ""
        self._reporter.note(f"{asked.environment}: {why}{source.file} is built, without a network")
        if self._stages is None:
            self._stages = self._stack.enter_context(keeping(self._store))
        with connected(self._settings, self._reporter) as shared:
            limits = limits_of(self._settings)
            sealer = Sealer(
                self._store, self._root, _none, self._reporter, shared, {}, "none", stages=self._stages, limits=limits
            )
            maker, name, held = WheelMaker(sealer), asked.environment, tuple[LockedDeb, ...]()
            try:
                made = maker.make(name, recipe, part, platform, source, asked.resolve)
            except SealError:
                held = tools()
                if not held:
                    raise
                self._reporter.note(f"{name}: {source.file} does not build by itself: once more, with build-essential")
                made = maker.make(name, recipe, part, platform, source, asked.resolve, held)
        return _Known(made.record, made.file, held)

    def _source(self, asked: ToBuild) -> LockedSource:
        """The source, brought into the store."""
        file = asked.file
        held = self._store.sound(file.sha256, file.size, file.name) if file.sha256 is not None else None
        if held is not None and file.sha256 is not None:
            return self._named(asked, os.stat(held).st_size, file.sha256)
        with (
            self._store.session() as session,
            self._reporter.work(f"fetch {file.name}", file.size, unit="bytes") as bar,
        ):
            temporary, found, length = session.written("source", _blocks(asked), bar.advance)
            if file.sha256 not in (None, found):
                temporary.unlink()
                if asked.origin is None:
                    raise FetchError(f"{file.name}: the index states sha256 {file.sha256}, the file has {found}")
                raise FetchError(
                    f"environment {asked.environment}: {file.name}: expected SHA-256 {file.sha256}, found {found}",
                    hint=f"its address has other bytes than were asked for, or locked: "
                    f"`flyte-build lock --upgrade-package {asked.name}` takes those that it has now",
                )
            session.put_artifact(temporary, found)
            session.sync()
        return self._named(asked, length, found)

    @staticmethod
    def _named(asked: ToBuild, size: int, sha256: str) -> LockedSource:
        origin = asked.origin
        more = (origin.asked, origin.commit) if origin is not None else (None, None)
        return LockedSource(asked.name, asked.version, asked.file.name, size, sha256, *more)


def _blocks(asked: ToBuild) -> Iterator[bytes]:
    """The file's bytes, from where its index has it."""
    url = asked.file.url
    if url.startswith("file:"):
        with open(unquote(urlsplit(url).path), "rb") as f:
            while block := f.read(_BLOCK):
                yield block
        return
    with asked.client.stream(url) as response:
        if response.status_code != 200:
            raise FetchError(f"{asked.file.name}: {response.status_code} {response.reason_phrase}")
        yield from response.iter_bytes(_BLOCK)


def _none() -> Locator:
    raise AssertionError("a build finds its own places")
