"""What a step changed: overlayfs' upper folder against what lay below → entries of a layer, in normal form.

Runs in the step's user namespace, after every process of the step has ended, so that nothing changes any more. Follows
no link: folders are entered by name from a folder that was seen to be one. What equals the layers below is no change:
touching a file, or writing the same again, leaves nothing. Opaque folders are resolved into a whiteout for each name
that is gone, as overlayfs calls every new folder opaque.
"""

from __future__ import annotations

import filecmp
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..assemble.entries import Entry, Plain
from .normal import dropped, rewritten

__all__ = ["Changes", "changes"]

_OPAQUE = "user.overlay.opaque"
_NOT_OURS = ("user.overlay.", "trusted.overlay.", "security.selinux")


@dataclass
class Changes:
    """``entries``; ``removed``: paths of the layers below that are gone; ``left_out``: what no layer holds."""

    entries: list[Entry] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def changes(upper: str, lower: str, lent: frozenset[str]) -> Changes:
    """What ``upper`` changes of ``lower``. ``lent``: paths that the sandbox made itself, for what it mounted there."""
    walk = _Walk(upper, lower, lent)
    walk.folder("", over=True)
    walk.found.removed += _unsound(walk.found, lower)
    return walk.found


def _unsound(found: Changes, lower: str) -> list[str]:
    """The bytecode below of modules that are others now, or gone: what a layer of bytecode has, nobody holds against
    its module any more (PEP 552, unchecked). What programs compile themselves is left out, or looks at its module."""
    gone = []
    for path in sorted({entry.path for entry in found.entries} | set(found.removed)):
        folder, _, name = path.rpartition("/")
        cache = f"{folder}/__pycache__".lstrip("/")
        if not name.endswith(".py") or not _is_folder(f"{lower}/{cache}"):
            continue
        names = [n for n in os.listdir(f"{lower}/{cache}") if n.startswith(name[:-2]) and n.endswith(".pyc")]
        gone += [f"{cache}/{n}" for n in sorted(names) if _unchecked(f"{lower}/{cache}/{n}")]
    return gone


def _unchecked(at: str) -> bool:
    try:
        handle = os.open(at, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.pread(handle, 4, 4) == b"\1\0\0\0"
    finally:
        os.close(handle)


class _Walk:
    def __init__(self, upper: str, lower: str, lent: frozenset[str]) -> None:
        self._upper, self._lower, self._lent = upper, lower, lent
        self._first: dict[tuple[int, int], str] = {}
        # Folders on the way that are as they were: they are written only if something in them is.
        self._held: list[Entry] = []
        self.found = Changes()

    def folder(self, path: str, *, over: bool) -> None:
        """All that is in the upper folder at ``path``; ``over``: what lies below it shows through."""
        here, there = f"{self._upper}/{path}", f"{self._lower}/{path}"
        names = set(os.listdir(here))
        below = set(os.listdir(there)) if _is_folder(there) else set()
        hidden = below - names if not over else set()
        for name in sorted(names | hidden, key=os.fsencode):
            at = f"{path}/{name}".lstrip("/")
            if name in hidden:
                self._gone(at)
            else:
                self._one(at, shown=name in below, over=over)

    def _one(self, path: str, *, shown: bool, over: bool) -> None:
        at = f"{self._upper}/{path}"
        found = os.lstat(at)
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
            if shown:
                self._gone(path)
            return
        folder = stat.S_ISDIR(found.st_mode)
        if dropped(path, folder=folder) or (path in self._lent and not (folder and os.listdir(at))):
            return
        made = self._entry(path, at, found)
        if made is None:
            self.found.left_out.append(path)
        elif folder:
            self._folder(made, at, shown=shown, over=over)
        elif not (shown and _same(at, f"{self._lower}/{path}")):
            self._write(self._linked(made, found))

    def _folder(self, made: Entry, at: str, *, shown: bool, over: bool) -> None:
        there = f"{self._lower}/{made.path}"
        self._held.append(made)
        if not (shown and _same(at, there)) and made.path not in self._lent:
            self._flush()
        # Below an opaque folder nothing shows through, whatever the folders in it are called.
        self.folder(made.path, over=over and shown and not _is_opaque(at))
        if self._held and self._held[-1] is made:
            self._held.pop()

    def _gone(self, path: str) -> None:
        if not dropped(path, folder=_is_folder(f"{self._lower}/{path}")):
            self._flush()
            self.found.removed.append(path)

    def _linked(self, made: Entry, found: os.stat_result) -> Entry:
        """Of several names of one file, those after the first are links to it."""
        if found.st_nlink < 2 or made.kind != "file":
            return made
        first = self._first.setdefault((found.st_dev, found.st_ino), made.path)
        return made if first == made.path else made._replace(kind="hardlink", content=(), link=first)

    def _write(self, entry: Entry) -> None:
        self._flush()
        self.found.entries.append(entry)

    def _flush(self) -> None:
        self.found.entries += self._held
        self._held = []

    def _entry(self, path: str, at: str, found: os.stat_result) -> Entry | None:
        """What a layer says of it; ``None`` where none can."""
        made = Entry(path, "dir", stat.S_IMODE(found.st_mode), uid=found.st_uid, gid=found.st_gid)
        made = made._replace(xattrs=tuple(_attributes(at)))
        if stat.S_ISDIR(found.st_mode):
            return made
        if stat.S_ISLNK(found.st_mode):
            return made._replace(kind="symlink", mode=0o777, link=os.readlink(at))
        if not stat.S_ISREG(found.st_mode):
            return None
        content: tuple[Plain | bytes, ...] = (Plain(at, 0, found.st_size),) if found.st_size else ()
        if rewrite := rewritten(path):
            with open(at, "rb") as f:
                content = (rewrite(f.read()),)
        return made._replace(kind="file", content=content)


def _same(one: str, other: str) -> bool:
    """Whether two things of one path are the same but for their times."""
    a, b = os.lstat(one), os.lstat(other)
    if (a.st_mode, a.st_uid, a.st_gid) != (b.st_mode, b.st_uid, b.st_gid):
        return False
    if list(_attributes(one)) != list(_attributes(other)):
        return False
    if stat.S_ISREG(a.st_mode):
        return a.st_size == b.st_size and filecmp.cmp(one, other, shallow=False)
    return os.readlink(one) == os.readlink(other) if stat.S_ISLNK(a.st_mode) else stat.S_ISDIR(a.st_mode)


def _attributes(at: str) -> Iterator[tuple[str, bytes]]:
    for name in sorted(os.listxattr(at, follow_symlinks=False)):
        if not name.startswith(_NOT_OURS):
            yield name, os.getxattr(at, name, follow_symlinks=False)


def _is_folder(at: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(at).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _is_opaque(at: str) -> bool:
    try:
        return os.getxattr(at, _OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False
