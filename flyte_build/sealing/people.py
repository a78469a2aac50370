"""Names of users and groups → their numbers, as the image that is the root directory knows them (passwd(5), group(5)).

Runs in the sandbox, after its root directory is the image. What ``USER`` and ``--chown`` mean differs: of a number
without a group the first takes the row in passwd, else group 0, and the second the same number.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Nobody", "Person", "owner", "person"]

_MOST = 1 << 20
_ROOT = ["root", "x", "0", "0", "", "/root"]


class Nobody(Exception):
    """The image knows no such user or group."""


@dataclass(frozen=True, slots=True)
class Person:
    """``groups``: all that a process of this user has; ``home``: its folder."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def person(said: str) -> Person:
    """Who ``USER`` names: ``NAME``, ``NUMBER``, and either with ``:GROUP``. Raises :class:`Nobody`."""
    name, _, group = said.partition(":")
    row = _user(name)
    if row is None and not name.isdigit():
        raise Nobody(f"the image knows no user `{name}`")
    uid, gid, home = (int(row[2]), int(row[3]), row[5]) if row is not None else (int(name), 0, "/")
    if group:
        gid = _group(group)
        return Person(uid, gid, (gid,), home or "/")
    mine = {int(r[2]) for r in _rows("/etc/group", 4) if row is not None and row[0] in r[3].split(",")}
    return Person(uid, gid, tuple(sorted({gid, *mine})), home or "/")


def owner(said: str) -> tuple[int, int]:
    """Whose ``--chown`` makes a file. Raises :class:`Nobody`."""
    name, _, group = said.partition(":")
    if name.isdigit():
        uid = gid = int(name)
    else:
        row = _user(name)
        if row is None:
            raise Nobody(f"the image knows no user `{name}`")
        uid, gid = int(row[2]), int(row[3])
    return uid, _group(group) if group else gid


def _user(name: str) -> list[str] | None:
    rows = _rows("/etc/passwd", 6)
    named = next((r for r in rows if r[0] == name), None)
    return named or next((r for r in rows if name.isdigit() and int(r[2]) == int(name)), None)


def _group(name: str) -> int:
    if name.isdigit():
        return int(name)
    for row in _rows("/etc/group", 4):
        if row[0] == name:
            return int(row[2])
    raise Nobody(f"the image knows no group `{name}`")


def _rows(path: str, fields: int) -> list[list[str]]:
    """The rows with numbers; ``root`` is known to an image that has no such file."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as f:
            text = f.read(_MOST)
    except OSError:
        text = ""
    rows = [line.split(":") for line in text.splitlines()]
    found = [r for r in rows if len(r) >= fields and r[2].isdigit() and (fields < 6 or r[3].isdigit())]
    return found or [_ROOT[:fields]]
