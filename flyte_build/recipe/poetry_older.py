"""What of a ``poetry.lock`` of Poetry 1 is installed, and where: its rows do not say for which groups and markers they
are, so that is worked out from the project's own requirements, row by row.

Poetry's own library (poetry-core) reads the requirements, their groups and extras, and reckons with markers. Nothing is
resolved: what is not in the lock is not installed. Reads files.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from ..kernel.errors import LoadError, RefusedError

if TYPE_CHECKING:
    from poetry.core.packages.dependency import Dependency
    from poetry.core.version.markers import BaseMarker

__all__ = ["older_rows"]

# A marker that is still growing after so many turns is one that no reckoning will settle.
_TURNS = 100
_NAMED = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


def older_rows(
    pyproject: Path, lock: Path, held: Mapping[str, Any], groups: Collection[str], extras: Collection[str]
) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each package that is installed for ``groups`` and ``extras``, as lock-version 2.1 has its row (with ``files``),
    and a marker, ``""`` where it is for every machine; once for each kind of machine that it is for.

    Raises :class:`RefusedError` where poetry-core is not installed, :class:`LoadError` for a project that it does not
    accept.
    """
    roots = _roots(pyproject, groups, extras)
    rows = [_whole(row, held) for row in held.get("package", [])]
    reached = _Walk(rows, lock).from_(roots)
    for number in sorted(reached):
        for text in _texts(reached[number]):
            yield rows[number], text


def _texts(marker: BaseMarker) -> list[str]:
    """The ways in which a marker is true, each by itself and in an order of ours: that of poetry-core is its own."""
    from poetry.core.version.markers import MarkerUnion, MultiMarker, dnf

    if marker.is_any():
        return [""]
    found = dnf(marker)
    ways = found.markers if isinstance(found, MarkerUnion) else [found]
    parts = (way.markers if isinstance(way, MultiMarker) else [way] for way in ways)
    return sorted(" and ".join(sorted(str(one) for one in part)) for part in parts)


def _whole(row: Mapping[str, Any], held: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its files, which the oldest locks have in a table of their own."""
    files = held["metadata"].get("files", {}).get(row["name"], [])
    return {"files": files, **row}


def _roots(pyproject: Path, groups: Collection[str], extras: Collection[str]) -> list[Dependency]:
    """What the project itself asks for."""
    try:
        from poetry.core.factory import Factory
    except ImportError:
        raise RefusedError(
            f"{pyproject}: its poetry.lock is of Poetry 1, and only poetry-core, which is not installed here, knows "
            "what of it is for which group",
            hint="pip install 'flyte-build[poetry]'; or `poetry lock` with Poetry 2",
        ) from None
    try:
        package = Factory().create_poetry(pyproject.parent).package
    except (RuntimeError, ValueError, TypeError, KeyError) as e:
        raise LoadError(f"{pyproject}: Poetry does not accept it: {e}") from None
    found = []
    for name in package.dependency_group_names(include_optional=True):
        if canonicalize_name(name) in groups:
            found += package.dependency_group(name).dependencies
    return [dep for dep in found if not dep.is_optional() or {canonicalize_name(e) for e in dep.in_extras} & {*extras}]


class _Walk:
    """From the project's requirements along those of the rows, with what each way demands of a machine."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], lock: Path) -> None:
        self._rows, self._lock = rows, lock
        self._named: dict[str, list[int]] = {}
        for number, row in enumerate(rows):
            self._named.setdefault(canonicalize_name(str(row["name"])), []).append(number)
        self._known: dict[tuple[int, frozenset[str]], BaseMarker] = {}
        self._turns: dict[tuple[int, frozenset[str]], int] = {}
        self._pending: deque[tuple[int, frozenset[str]]] = deque()

    def from_(self, roots: Sequence[Dependency]) -> dict[int, BaseMarker]:
        """By row: what a machine has to be for it to be installed."""
        from poetry.core.version.markers import AnyMarker

        edges: list[tuple[BaseMarker, Dependency]] = [(AnyMarker(), dep) for dep in roots]
        unclear: list[tuple[BaseMarker, Dependency]] = []
        while edges or unclear:
            for marker, dep in edges:
                self._step(marker, dep, unclear)
            while self._pending:
                for marker, dep in self._behind(self._pending.popleft()):
                    self._step(marker, dep, unclear)
            # What several rows answer is what the clear ones have made of it; where they have not, the newest.
            edges = []
            for marker, dep in unclear:
                self._choose(marker, dep)
            unclear = []
            while self._pending:
                edges += self._behind(self._pending.popleft())
        return self._reached()

    def _reached(self) -> dict[int, BaseMarker]:
        found: dict[int, BaseMarker] = {}
        for (number, _), marker in self._known.items():
            found[number] = found[number].union(marker) if number in found else marker
        return found

    def _step(self, below: BaseMarker, dep: Dependency, unclear: list[tuple[BaseMarker, Dependency]]) -> None:
        marker = below.intersect(dep.marker.without_extras())
        rows = self._answering(dep)
        if marker.is_empty() or not rows:
            return
        if len(rows) > 1:
            unclear.append((marker, dep))
        else:
            self._reach(rows[0], dep, marker)

    def _answering(self, dep: Dependency) -> list[int]:
        """The rows that answer a requirement; none where the lock has been made for other machines only."""
        from poetry.core.constraints.version import Version

        rows = self._named.get(canonicalize_name(dep.name), [])
        if len(rows) < 2:
            return rows
        kinds = {"git": "git", "url": "url", "file": "file", "directory": "directory"}
        kind = kinds.get(dep.source_type or "")
        fit = [n for n in rows if kind is None or self._rows[n].get("source", {}).get("type") == kind]
        return [n for n in fit if kind or dep.constraint.allows(Version.parse(str(self._rows[n]["version"])))]

    def _choose(self, marker: BaseMarker, dep: Dependency) -> None:
        from packaging.version import Version

        rows = sorted(self._answering(dep), key=lambda n: Version(str(self._rows[n]["version"])), reverse=True)
        reached, rest = self._reached(), marker
        for number in rows:
            if number in reached and not (mine := rest.intersect(reached[number])).is_empty():
                self._reach(number, dep, mine)
                rest = rest.intersect(reached[number].invert())
        if not rest.is_empty():
            self._reach(rows[0], dep, rest)

    def _reach(self, number: int, dep: Dependency, marker: BaseMarker) -> None:
        key = number, frozenset(canonicalize_name(extra) for extra in dep.extras)
        before = self._known.get(key)
        now = marker if before is None else before.union(marker)
        if before is not None and (now == before or marker.intersect(before.invert()).is_empty()):
            return
        self._turns[key] = self._turns.get(key, 0) + 1
        if self._turns[key] > _TURNS:
            raise LoadError(f"{self._lock}: {self._rows[number]['name']}: its markers cannot be reckoned with")
        self._known[key] = now
        self._pending.append(key)

    def _behind(self, key: tuple[int, frozenset[str]]) -> list[tuple[BaseMarker, Dependency]]:
        """What a row requires, with the extras that are asked of it."""
        from poetry.core.factory import Factory

        number, extras = key
        row, found = self._rows[number], list[tuple["BaseMarker", "Dependency"]]()
        named = {
            _name(t) for e, texts in row.get("extras", {}).items() if canonicalize_name(e) in extras for t in texts
        }
        for name, said in row.get("dependencies", {}).items():
            for one in said if isinstance(said, list) else [said]:
                try:
                    dep = Factory.create_dependency(name, one, root_dir=self._lock.parent)
                except ValueError as e:
                    raise LoadError(f"{self._lock}: {row['name']}: {name}: {e}") from None
                of = {canonicalize_name(extra) for extra in dep.in_extras}
                if not dep.is_optional() or (of & extras if of else canonicalize_name(name) in named):
                    found.append((self._known[key], dep))
        return found


def _name(text: str) -> str:
    m = _NAMED.match(text)
    return canonicalize_name(m[1]) if m else ""
