"""Requirements that are installed from a location: brought here first, then local wheels like any others.

A repository or folder is fetched as an archive whose bytes are a function of the commit, or of its files, and built in
the sandbox as a source distribution is; so is an archive by its address. A commit that a lock has stays until it is
upgraded, whatever its branch has; so do the bytes that an address had, and others there are an error.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name, parse_wheel_filename

from ...kernel.canonical import digest
from ...kernel.errors import RefusedError, ResolutionError
from ...kernel.reporting import Reporter
from ...recipe import PipInstall, SourceTree
from ...sources.indexes import IndexClient, IndexFile
from ...sources.lent import filled_tree
from ...sources.source_trees import archived
from ..wheels import Target
from .sources import Built, Origin, Sources
from .terms import Wanted

__all__ = ["Trees"]


@dataclass(frozen=True, slots=True)
class _Archive:
    path: Path
    origin: Origin
    sha256: str
    size: int


class Trees:
    """Builds each source once for a target. ``kept``: the commits of repositories and the SHA-256 of addresses that
    locks have, by the digest of what was asked."""

    def __init__(self, root: Path, folder: Path, sources: Sources, kept: Mapping[str, str], reporter: Reporter) -> None:
        self._root, self._folder, self._sources = root, folder, sources
        self._kept, self._reporter = kept, reporter
        self._archives: dict[SourceTree, _Archive] = {}

    def built(self, one: Wanted, client: IndexClient) -> tuple[Wanted, dict[str, Built]]:
        """``one`` with wheels in the place of its sources, and how these came about, by name."""
        made: dict[str, Built] = {}
        steps = list(one.recipe.steps)
        for at, step in enumerate(steps):
            if isinstance(step, PipInstall) and step.sources:
                found = {s: self._build(s, step, one, client) for s in step.sources if _holds(s, one.target)}
                extras = tuple(f"{n}[{','.join(s.extras)}]" for s, (n, _) in found.items() if s.extras)
                wheels = tuple(str(built.path) for _, built in found.values())
                steps[at] = replace(
                    step,
                    requirements=(*step.requirements, *extras),
                    wheels=(*step.wheels, *wheels),
                    sources=(),
                )
                made |= dict(found.values())
        return (replace(one, recipe=replace(one.recipe, steps=tuple(steps))), made) if made else (one, made)

    def _build(self, source: SourceTree, step: PipInstall, one: Wanted, client: IndexClient) -> tuple[str, Built]:
        asked = digest(source.to_json())
        source = filled_tree(source, step)
        if source.file is not None:
            file, origin = self._file(source, asked), Origin(asked)
            version = str(parse_wheel_filename(file.name)[1]) if file.name.endswith(".whl") else asked[7:19]
            name = source.name or file.name.partition(".")[0]
        else:
            archive = self._archive(source, asked, one.environment)
            origin = archive.origin
            file = IndexFile(archive.path.name, archive.path.as_uri(), sha256=archive.sha256, size=archive.size)
            version = (archive.origin.commit or archive.sha256)[:12]
            name = source.name or archive.path.stem
        built = self._sources.of_tree(name, version, file, origin, one.target, one.environment, client)
        if built is None:
            raise RefusedError(
                f"environment {one.environment}: {source.title} would have to be built, and nothing here builds",
                hint="build its wheel, and add it with a folder of wheels",
            )
        found = str(canonicalize_name(parse_wheel_filename(built.path.name)[0]))
        if source.name not in (None, found):
            raise ResolutionError(
                f"environment {one.environment}: expected {source.name}, found {found} in {source.title}",
                hint=f"write `{found} @ …`",
            )
        return found, built

    def _file(self, source: SourceTree, asked: str) -> IndexFile:
        """A wheel or source archive, where it is."""
        assert source.file is not None
        if source.url is None:
            at = Path(os.path.abspath(self._root / str(source.path)))
            return IndexFile(source.file, at.as_uri(), sha256=str(source.tree).removeprefix("sha256:"))
        return IndexFile(source.file, source.url, sha256=source.sha256 or self._kept.get(asked))

    def _archive(self, source: SourceTree, asked: str, environment: str) -> _Archive:
        if source not in self._archives:
            folder = self._folder / asked.removeprefix("sha256:")
            folder.mkdir()
            with self._reporter.work(f"fetch {source.title}"):
                path, commit = archived(source, self._root, self._kept.get(asked), folder)
            if commit is not None:
                self._reporter.note(f"environment {environment}: {source.title}: commit {commit}")
            with open(path, "rb") as f:
                sha256 = hashlib.file_digest(f, "sha256").hexdigest()
            self._archives[source] = _Archive(path, Origin(asked, commit), sha256, path.stat().st_size)
        return self._archives[source]


def _holds(source: SourceTree, target: Target) -> bool:
    return source.marker is None or Marker(source.marker).evaluate(target.markers)
