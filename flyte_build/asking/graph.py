"""A lock → what stands on what in its image: wheels by their requirements, .debs and conda packages by dependencies.

The lock says what is there and since which step; what an artifact states is handed in. Markers (PEP 508) are judged for
the image's platform and Python, extras (PEP 685) are followed where they were asked for. A package that nothing known
requires stands alone, which is said and not guessed about.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..kernel.errors import LockError
from ..kernel.pythons import plain
from ..locking.targets import full_python
from ..locking.wheels import Target
from ..locks.nouns import Lock, LockedDeb, LockedPlatform, LockedWheel
from .needs import Stated

__all__ = ["Edge", "Graph", "Key", "Root", "graph_of"]

StatedBy: TypeAlias = "Callable[[LockedWheel | LockedDeb], Stated | None]"


class Key(NamedTuple):
    """A package of an image: ``name`` normalised (PEP 503) for a wheel."""

    kind: Literal["wheel", "deb", "conda"]
    name: str


@dataclass(frozen=True, slots=True)
class Edge:
    """``by`` requires ``what`` with these words (PEP 508, or a clause of Debian's)."""

    by: Key
    what: Key
    words: str


@dataclass(frozen=True, slots=True)
class Root:
    """Something asked for by itself: ``origin`` says who asked, ``words`` how."""

    what: Key
    origin: str
    words: str


@dataclass(slots=True)
class Graph:
    """One image: every package's version, who asked for it, and what it requires. ``silent``: packages of which
    nothing is known, so that their own edges are missing."""

    environment: str
    platform: str
    versions: dict[Key, str] = field(default_factory=dict)
    steps: dict[Key, int] = field(default_factory=dict)
    roots: list[Root] = field(default_factory=list)
    edges: dict[Key, list[Edge]] = field(default_factory=dict)
    silent: list[Key] = field(default_factory=list)

    def into(self, what: Key) -> list[Edge]:
        """The edges that end at ``what``, by the name of who requires it."""
        return sorted((e for out in self.edges.values() for e in out if e.what == what), key=lambda e: (e.by, e.words))

    def find(self, name: str) -> list[Key]:
        """The packages called ``name``, as a wheel, a .deb and a conda package."""
        wanted = (Key("wheel", canonicalize_name(name)), Key("deb", name.lower()), Key("conda", name.lower()))
        return [key for key in wanted if key in self.versions]


def graph_of(lock: Lock, platform: str, stated: StatedBy) -> Graph:
    """The graph of ``lock`` on ``platform``; raises :class:`LockError` where the lock has no such platform."""
    if platform not in lock.platforms:
        raise LockError(f"{lock.environment}: the lock is not for {platform}, but for {', '.join(lock.platforms)}")
    locked = lock.platforms[platform]
    graph = Graph(lock.environment, platform)
    for wheel in locked.wheels:
        graph.versions[Key("wheel", wheel.name)] = wheel.version
        graph.steps[Key("wheel", wheel.name)] = wheel.step
    for deb in locked.debs:
        graph.versions[Key("deb", deb.name)] = deb.version
    recipe = cast("Mapping[str, Any]", lock.recipe)
    steps = [step for step in recipe.get("steps") or [] if isinstance(step, dict)]
    _Wheels(graph, locked, _markers(lock, platform), stated).walk(recipe, steps)
    _debs(graph, locked, steps, stated)
    _conda(graph, locked, steps)
    return graph


def _markers(lock: Lock, platform: str) -> dict[str, str]:
    """The environment that markers are judged in."""
    minor = lock.python or "3.11"
    full = full_python(lock, platform) if lock.python else None
    return Target(cast("Any", platform), minor, full or f"{plain(minor)}.0", (2, 0)).markers


class _Wheels:
    def __init__(self, graph: Graph, locked: LockedPlatform, markers: Mapping[str, str], stated: StatedBy) -> None:
        self._graph, self._markers, self._stated = graph, markers, stated
        self._by_name = {w.name: w for w in locked.wheels}
        self._seen: set[tuple[str, str]] = set()
        self._waiting: list[tuple[str, str]] = []

    def walk(self, recipe: Mapping[str, Any], steps: list[dict[str, Any]]) -> None:
        flyte = recipe.get("flyte")
        if flyte is not None:
            self._root(f"flyte=={flyte}", "the runtime of flyte")
        for number, step in enumerate((s for s in steps if s.get("kind") == "pip"), 1):
            project = step.get("uv")
            for text in step.get("requirements") or []:
                self._root(text, f"with_pip_packages, step {number}")
            for path in step.get("wheels") or []:
                self._root(path.rpartition("/")[2].partition("-")[0], f"the wheel {path}, step {number}")
            self._drain()
            if project is not None:
                self._project(number, str(project.get("file")))
        self._drain()
        left = [w for w in self._by_name.values() if Key("wheel", w.name) not in self._reached()]
        # Of a project's packages, those that no other requires are what it asks for.
        for wheel in left:
            self._visit(wheel.name, "")
        self._drain()

    def _reached(self) -> set[Key]:
        return {root.what for root in self._graph.roots} | {e.what for out in self._graph.edges.values() for e in out}

    def _project(self, step: int, file: str) -> None:
        mine = [w for w in self._by_name.values() if w.step == step]
        for wheel in mine:
            self._visit(wheel.name, "")
        self._drain()
        required = {e.what for out in self._graph.edges.values() for e in out if e.by != e.what}
        for wheel in mine:
            if Key("wheel", wheel.name) not in required:
                self._graph.roots.append(Root(Key("wheel", wheel.name), f"{file}, step {step}", wheel.name))

    def _root(self, text: str, origin: str) -> None:
        wanted = self._parsed(text)
        if wanted is None or not self._applies(wanted, ""):
            return
        key = Key("wheel", canonicalize_name(wanted.name))
        if key in self._graph.versions:
            self._graph.roots.append(Root(key, origin, str(wanted)))
            self._follow(wanted)

    def _follow(self, wanted: Requirement) -> None:
        name = canonicalize_name(wanted.name)
        for extra in ("", *sorted(canonicalize_name(e) for e in wanted.extras)):
            self._visit(name, extra)

    def _visit(self, name: str, extra: str) -> None:
        if name in self._by_name and (name, extra) not in self._seen:
            self._seen.add((name, extra))
            self._waiting.append((name, extra))

    def _drain(self) -> None:
        while self._waiting:
            name, extra = self._waiting.pop()
            by = Key("wheel", name)
            stated = self._stated(self._by_name[name])
            if stated is None:
                if by not in self._graph.silent:
                    self._graph.silent.append(by)
                continue
            for text in stated.needs:
                wanted = self._parsed(text)
                if wanted is None or not self._applies(wanted, extra):
                    continue
                what = Key("wheel", canonicalize_name(wanted.name))
                if what not in self._graph.versions:
                    continue
                edge = Edge(by, what, _words(wanted))
                out = self._graph.edges.setdefault(by, [])
                if edge not in out:
                    out.append(edge)
                self._follow(wanted)

    def _applies(self, wanted: Requirement, extra: str) -> bool:
        return wanted.marker is None or wanted.marker.evaluate({**self._markers, "extra": extra})

    @staticmethod
    def _parsed(text: str) -> Requirement | None:
        try:
            return Requirement(text)
        except InvalidRequirement:
            return None


def _words(wanted: Requirement) -> str:
    """The requirement without its marker, which held."""
    extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
    return f"{wanted.name}{extras}{wanted.specifier}"


def _conda(graph: Graph, locked: LockedPlatform, steps: list[dict[str, Any]]) -> None:
    """What the lock has of each; those that no other needs are what the manifest asks for."""
    there = {p.name for p in locked.conda}
    needed = {name for p in locked.conda for name in p.needs}
    file = next((str(step.get("file")) for step in steps if step.get("kind") == "conda"), "")
    for package in locked.conda:
        key = Key("conda", package.name)
        graph.versions[key] = package.version
        if package.name not in needed:
            graph.roots.append(Root(key, f"the pixi project {file}", package.name))
        for name in package.needs:
            if name in there:
                graph.edges.setdefault(key, []).append(Edge(key, Key("conda", name), name))


def _debs(graph: Graph, locked: LockedPlatform, steps: list[dict[str, Any]], stated: StatedBy) -> None:
    asked: dict[str, int] = {}
    for number, step in enumerate((s for s in steps if s.get("kind") == "apt"), 1):
        for text in step.get("packages") or []:
            asked.setdefault(re.split(r"[=:/]", str(text))[0], number)
    known = {deb.name: stated(deb) for deb in locked.debs}
    provided: dict[str, list[str]] = {}
    for name, one in known.items():
        for other in one.provides if one is not None else ():
            provided.setdefault(other, []).append(name)
    for deb in locked.debs:
        key = Key("deb", deb.name)
        if deb.name in asked:
            graph.roots.append(Root(key, f"with_apt_packages, step {asked[deb.name]}", deb.name))
        elif deb.base:
            graph.roots.append(Root(key, f"the base, Debian {locked.suite}", deb.name))
        one = known[deb.name]
        if one is None:
            graph.silent.append(key)
            continue
        for clause in one.needs:
            for alternative in clause.split("|"):
                name = re.split(r"[\s(:\[<]", alternative.strip())[0]
                there = [name] if name in known else provided.get(name, [])
                if there:
                    graph.edges.setdefault(key, []).append(Edge(key, Key("deb", there[0]), clause))
                    break
