"""``/etc/passwd`` and its like: Debian's own accounts and the image's user.

base-passwd(8)'s masters are in its package; the format is passwd(5)'s, with shadowed passwords as Debian's
``shadowconfig on`` leaves them. Nobody can log in with a password, and no date is written: the day of the
last change is left empty, which shadow(5) allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import AssembleError

__all__ = ["User", "accounts"]

_PASSWD = "root:*:0:0:root:/root:/bin/sh\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
_GROUP = "root:*:0:\ntty:*:5:\nmail:*:8:\nshadow:*:42:\nstaff:*:50:\nnogroup:*:65534:\n"


@dataclass(frozen=True, slots=True)
class User:
    """The image's user; ``home`` is an absolute path."""

    name: str
    uid: int
    gid: int
    home: str


def accounts(
    user: User, shell: str, passwd_master: str | None, group_master: str | None
) -> dict[str, tuple[int, bytes]]:
    """Mode and content of ``passwd``, ``group``, ``shadow`` and ``gshadow``; the last two belong to group 42.

    Without base-passwd's masters there are root, nobody and the groups that folders are owned by. Raises
    :class:`AssembleError` when the user's name or numbers are taken.
    """
    people = _rows(passwd_master or _PASSWD, 7, "passwd.master")
    groups = _rows(group_master or _GROUP, 4, "group.master")
    for row in people:
        if row[0] == user.name or row[2] == str(user.uid):
            raise AssembleError(f"the user {user.name} ({user.uid}) is already {row[0]} ({row[2]}) of Debian's own")
    for row in groups:
        if row[0] == user.name or row[2] == str(user.gid):
            raise AssembleError(f"the group {user.name} ({user.gid}) is already {row[0]} ({row[2]}) of Debian's own")
    people.append([user.name, "!", str(user.uid), str(user.gid), "", user.home, shell])
    groups.append([user.name, "!", str(user.gid), ""])
    return {
        "passwd": (0o644, _text([name, "x", *rest] for name, _, *rest in people)),
        "group": (0o644, _text([name, "x", *rest] for name, _, *rest in groups)),
        "shadow": (0o640, _text([row[0], row[1], "", "0", "99999", "7", "", "", ""] for row in people)),
        "gshadow": (0o640, _text([row[0], row[1], "", row[3]] for row in groups)),
    }


def _rows(text: str, width: int, name: str) -> list[list[str]]:
    rows = [line.split(":") for line in text.splitlines() if line]
    for row in rows:
        if len(row) != width:
            raise AssembleError(f"{name}: expected {width} fields, found {':'.join(row)}", "base-passwd")
    return rows


def _text(rows: Iterable[list[str]]) -> bytes:
    return "".join(":".join(row) + "\n" for row in rows).encode("utf-8")
