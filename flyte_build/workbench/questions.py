"""``project.why``, ``project.tree``, ``project.outdated``: questions about locks, answered from what is locked."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..asking.advisories import Affected, Source, affected
from ..asking.chains import Reason, reasons
from ..asking.graph import Edge, Graph, Key, graph_of
from ..asking.moving import Move, moves
from ..asking.needs import Needs
from ..kernel.errors import InputError
from ..locks.lockfile import lock_path
from ..recipe import Recipe
from ..sources.locators import project_locator
from .opened import OpenProject
from .shown import html_table, text_table

if TYPE_CHECKING:
    from ..locking.project import LockReport
    from ..locks.nouns import Lock

__all__ = [
    "Affected",
    "Edge",
    "Graph",
    "Graphs",
    "Key",
    "Move",
    "Outdated",
    "Reason",
    "Why",
    "graphs",
    "moved",
    "outdated",
    "why",
]


@dataclass(frozen=True, slots=True)
class Graphs:
    """What stands on what, a graph an image; ``unread``: the packages of which nothing could be known here."""

    graphs: tuple[Graph, ...]
    unread: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Why:
    """The reasons of ``package``, one an image that has it; ``without``: environments that have it not."""

    package: str
    reasons: tuple[Reason, ...]
    without: tuple[str, ...]
    unread: tuple[str, ...]

    def __str__(self) -> str:
        return text_table(_COLUMNS, self._rows(), f"why {self.package}")

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, self._rows(), f"why {self.package}")

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                r.environment, r.platform, r.version, r.root.origin if r.root else "–",
                " → ".join([r.root.words if r.root else "?", *(e.words for e in r.chain)]),
            )
            for r in self.reasons
        ]  # fmt: skip


_COLUMNS = ("environment", "platform", "version", "asked for by", "by way of")


@dataclass(frozen=True, slots=True)
class Outdated:
    """What ``lock --upgrade`` would move today; ``cutoff``: up to which instant it looked, ``None`` for now.
    ``affected``: locked packages that advisories are about, where some were asked for."""

    moves: tuple[Move, ...]
    environments: tuple[str, ...]
    cutoff: str | None
    affected: tuple[Affected, ...] = ()

    def __str__(self) -> str:
        rows = [(m.name, m.old or "–", m.new or "–", ", ".join(m.environments)) for m in self.moves]
        return text_table(("package", "locked", "newest", "environments"), rows)


def graphs(
    bench: OpenProject, task: str | None, env: Sequence[str], platform: str | None, *, online: bool = True
) -> Graphs:
    """The graphs of the images that are meant, each on ``platform`` (default: this machine's; ``all``: every one)."""
    selected = bench.select(task, env)
    locks = bench.workspace.locks(selected)
    recipes = {e.name: e.recipe for e in selected}
    locator = project_locator(recipes, locks, bench.root, hurried=True) if online else None
    needs = Needs(bench.store, locator, bench.reporter)
    wanted = [(lock, p) for p in bench.workspace.platforms(selected, platform) for lock in locks.values()]
    wanted = [(lock, p) for lock, p in wanted if p in lock.platforms]
    with bench.store.reading():
        for lock, p in wanted:
            needs.read([*lock.platforms[p].wheels, *lock.platforms[p].debs])
        found = tuple(graph_of(lock, p, needs) for lock, p in wanted)
    return Graphs(found, tuple(sorted({one.name for one in needs.unread.values()})))


def why(
    bench: OpenProject,
    package: str,
    task: str | None,
    env: Sequence[str],
    platform: str | None,
    *,
    online: bool = True,
) -> Why:
    """Why ``package`` is in each image that is meant. Raises :class:`InputError` where none of them has it."""
    found = graphs(bench, task, env, platform, online=online)
    every = tuple(reason for graph in found.graphs for reason in reasons(graph, package))
    if not every:
        import difflib

        names = sorted({key.name for graph in found.graphs for key in graph.versions})
        close = difflib.get_close_matches(package.lower(), names, 3)
        there = f"did you mean {' or '.join(f'`{c}`' for c in close)}?" if close else "`flyte-build tree` lists all"
        images = ", ".join(dict.fromkeys(g.environment for g in found.graphs)) or "no image"
        raise InputError(f"no image here has a package `{package}`: looked in {images}", hint=there)
    have = {r.environment for r in every}
    without = tuple(dict.fromkeys(g.environment for g in found.graphs if g.environment not in have))
    return Why(package, every, without, found.unread)


def moved(report: LockReport) -> list[Move]:
    """Which packages ``lock`` moved, in environments that had a lock before."""
    return moves(report.before, {name: report.locks[name] for name in report.written})


def outdated(
    bench: OpenProject,
    *,
    env: Sequence[str] = (),
    exclude_newer: str | None = None,
    resolver: str = "uv",
    osv: str | None = None,
) -> Outdated:
    """What would move if every version were chosen anew: locked into a folder that is thrown away.

    ``osv``: the address of a service that knows advisories, or a folder of them. Raises what locking raises,
    :class:`LockError` where there is no lock to compare with, :class:`FetchError` where the service cannot be asked.
    """
    from ..locking import lock_project
    from .dockerfiles import found_out
    from .source_builds import SourceBuilds

    selected = bench.select(env=env)
    before = bench.workspace.locks(selected)
    with tempfile.TemporaryDirectory(prefix="flyte-build-") as scratch:
        for name in before:
            shutil.copy(lock_path(bench.lockfiles, name), lock_path(Path(scratch), name))
        settings = bench.settings()

        def locked(recipes: Mapping[str, Recipe]) -> LockReport:
            with SourceBuilds(recipes, bench.lockfiles, bench.root, bench.store, settings, bench.reporter) as build:
                return lock_project(
                    recipes,
                    Path(scratch),
                    resolver=resolver,
                    cutoff=exclude_newer,
                    cooldown=settings.exclude_newer,
                    cooldowns=settings.exclude_newer_index,
                    upgrade=True,
                    reporter=bench.reporter,
                    root=bench.root,
                    build=build,
                )

        # What the locks that are there answer stays as it is.
        copies = [replace(e) for e in selected]
        after: dict[str, Lock] = dict(found_out(copies, bench.root, bench.store, bench.reporter, locked).locks)
    cutoff = next((lock.cutoff for lock in after.values() if lock.cutoff), None)
    against = affected(before, {**before, **after}, _advisories(osv)) if osv else ()
    return Outdated(tuple(moves(before, after)), tuple(before), cutoff, against)


def _advisories(osv: str) -> Source:
    if osv.startswith(("http://", "https://")):
        from ..asking.advisory_service import of_service

        return of_service(osv)
    from ..asking.advisories import of_folder

    if not Path(osv).is_dir():
        raise InputError(f"--osv {osv}: expected the address of a service (https://…), or a folder of advisories")
    return of_folder(Path(osv))
