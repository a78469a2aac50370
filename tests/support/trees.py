"""Two trees of files compared path by path, and a table of a page that says which differences there may be.

The table's first column is a kind of difference, its second which paths have it: patterns that begin with ``/``
(``*`` is any text, slashes too), and names of packages, which are all files that dpkg says are theirs, and what it
keeps of them.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, TypeAlias, get_args

__all__ = ["Difference", "Row", "differences", "owned", "rows", "unexplained"]

Kind: TypeAlias = Literal["missing", "more", "other"]
# What Debian has as links into /usr, and dpkg's lists name as it was before.
_MERGED = re.compile(r"^/(?=(s?bin|lib(32|64|x32)?)(/|$))")
_CAPABILITY = "security.capability"


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """``path`` (absolute) is in the peer alone (``missing``), in the image alone (``more``), or in both and not the
    same (``other``); ``what`` says in what."""

    path: str
    kind: Kind
    what: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: ``why`` the paths that ``patterns`` mean may differ so."""

    kind: Kind
    patterns: tuple[str, ...]
    why: str
    names: frozenset[str] = field(default=frozenset())

    def explains(self, found: Difference, owners: Mapping[str, frozenset[str]]) -> bool:
        """``owners``: the packages of each path, by :func:`owned`. A path of two packages needs both named."""
        if found.kind != self.kind:
            return False
        if any(fnmatchcase(found.path, pattern) for pattern in self.patterns):
            return True
        return bool(whose := owners.get(found.path)) and whose <= self.names


def differences(image: Path, peer: Path) -> list[Difference]:
    """What differs, sorted by path. Times are not compared: those of an image are the same for all files."""
    ours, theirs = dict(_walk(image)), dict(_walk(peer))
    found = [Difference(path, "missing", _said(theirs[path])) for path in theirs.keys() - ours.keys()]
    found += [Difference(path, "more", _said(ours[path])) for path in ours.keys() - theirs.keys()]
    for path in ours.keys() & theirs.keys():
        if what := _unlike(image, peer, path, ours[path], theirs[path]):
            found.append(Difference(path, "other", what))
    return sorted(found)


def rows(page: str, heading: str) -> list[Row]:
    """The rows of the table below ``heading`` of ``page``. Raises :class:`ValueError` for one that says nothing."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = []
    for line in section.splitlines():
        if not line.startswith("| ") or line.startswith("| in the image"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        marked = re.findall(r"`([^`]+)`", cells[1]) if len(cells) == 3 else []
        if len(cells) != 3 or cells[0] not in get_args(Kind) or not marked or not cells[2]:
            raise ValueError(f"no row of three cells, with paths or packages in backticks: {line}")
        patterns = tuple(one for one in marked if one.startswith("/"))
        found.append(Row(cells[0], patterns, cells[2], frozenset(marked) - set(patterns)))
    return found


def owned(*roots: Path) -> dict[str, frozenset[str]]:
    """The packages of each path that dpkg's database in one of ``roots`` lists, and of what it keeps of them."""
    found: dict[str, set[str]] = {}
    for root in roots:
        for listed in sorted((root / "var/lib/dpkg/info").glob("*.list")):
            name = listed.stem.partition(":")[0]
            for path in listed.read_text(encoding="utf-8").splitlines():
                found.setdefault(_MERGED.sub("/usr/", path, count=1), set()).add(name)
            for kept in listed.parent.glob(f"{listed.stem}.*"):
                found.setdefault(f"/var/lib/dpkg/info/{kept.name}", set()).add(name)
    return {path: frozenset(names) for path, names in found.items()}


def unexplained(
    found: Iterable[Difference], table: Sequence[Row], owners: Mapping[str, frozenset[str]]
) -> tuple[list[Difference], set[Row]]:
    """The differences that no row explains, and the rows that were needed."""
    left, used = [], set()
    for one in found:
        explaining = [row for row in table if row.explains(one, owners)]
        used.update(explaining)
        if not explaining:
            left.append(one)
    return left, used


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Absolute paths in ``root``, and what is there; no link is followed."""
    waiting = [str(root)]
    while waiting:
        for entry in os.scandir(waiting.pop()):
            there = entry.stat(follow_symlinks=False)
            yield entry.path[len(str(root)) :], there
            if stat.S_ISDIR(there.st_mode):
                waiting.append(entry.path)


def _said(there: os.stat_result) -> str:
    return stat.filemode(there.st_mode)


def _unlike(image: Path, peer: Path, path: str, ours: os.stat_result, theirs: os.stat_result) -> str:
    """In what the two differ; empty where they are the same."""
    mine, other = f"{image}{path}", f"{peer}{path}"
    if stat.S_IFMT(ours.st_mode) != stat.S_IFMT(theirs.st_mode):
        return f"{_said(ours)}, not {_said(theirs)}"
    if stat.S_ISLNK(ours.st_mode):
        led, leads = os.readlink(mine), os.readlink(other)
        return "" if led == leads else f"leads to {led}, not {leads}"
    said = []
    if ours.st_mode != theirs.st_mode:
        said.append(f"{_said(ours)}, not {_said(theirs)}")
    if (ours.st_uid, ours.st_gid) != (theirs.st_uid, theirs.st_gid):
        said.append(f"of {ours.st_uid}:{ours.st_gid}, not {theirs.st_uid}:{theirs.st_gid}")
    if stat.S_ISREG(ours.st_mode):
        if ours.st_size != theirs.st_size or _digest(mine) != _digest(other):
            said.append("other bytes")
        if _capability(mine) != _capability(other):
            said.append("other capabilities")
    return ", ".join(said)


def _digest(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _capability(path: str) -> bytes:
    return os.getxattr(path, _CAPABILITY) if _CAPABILITY in os.listxattr(path) else b""
