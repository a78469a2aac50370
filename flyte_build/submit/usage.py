"""How much lies in folders that a task may write to: bytes on the disk, and files.

Counted on open folders from the :mod:`door`, without following a link, so that no task can lead the count elsewhere;
nothing that lies there is opened. Knows nothing of limits (see ``limits``) or of time (see ``watch``).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from ..kernel.values import dataclass
from . import door

__all__ = ["DEEP", "NOTHING", "Place", "Usage", "descendants", "in_memory", "measure", "unlinked"]

DEEP = 200
"""Folders in each other that are counted, and that the launcher removes; outputs may be no deeper either."""

_READABLE = 0o500
_BLOCK = 512  # st_blocks counts these, whatever the file system's own are (stat(3type))


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that is counted: ``below`` the folder ``top``, which is ours; tasks see it as ``inside``."""

    top: Path
    below: str
    inside: str


@dataclass(frozen=True, slots=True)
class Usage:
    """``size`` in bytes as they lie on the disk (a hole takes none), ``files`` with folders and links; ``deep``: there
    are folders beyond :data:`DEEP`, which are not counted. ``most`` and ``many`` are where most of each was found."""

    size: int = 0
    files: int = 0
    deep: bool = False
    most: str = ""
    many: str = ""

    def __add__(self, other: Usage) -> Usage:
        most = self.most if self.size >= other.size else other.most
        many = self.many if self.files >= other.files else other.many
        return Usage(self.size + other.size, self.files + other.files, self.deep or other.deep, most, many)

    def __sub__(self, base: Usage) -> Usage:
        """What is more than ``base``; where it is less, nothing."""
        size, files = max(self.size - base.size, 0), max(self.files - base.files, 0)
        return Usage(size, files, self.deep, self.most, self.many)


NOTHING = Usage()


def measure(places: Iterable[Place], *, skip: frozenset[str] = frozenset(), enough: Usage | None = None) -> Usage:
    """What lies in ``places`` together; a file with several names counts once.

    ``skip`` are folders, as paths below a place, that are left out. With more than ``enough`` has of either, counting
    stops. What goes away meanwhile is not there.
    """
    size = files = most = many = 0
    deep, largest, fullest = False, "", ""
    seen: set[tuple[int, int]] = set()
    for place in places:
        here_size = here_files = 0
        with closing(_walk(place, skip)) as all_found:
            for found in all_found:
                if found is None:
                    deep = True
                    continue
                if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
                    if (found.st_dev, found.st_ino) in seen:
                        continue
                    seen.add((found.st_dev, found.st_ino))
                here_size += found.st_blocks * _BLOCK
                here_files += 1
                if enough is not None and (size + here_size > enough.size or files + here_files > enough.files):
                    break
        size, files = size + here_size, files + here_files
        if here_size > most:
            most, largest = here_size, place.inside
        if here_files > many:
            many, fullest = here_files, place.inside
        if enough is not None and (size > enough.size or files > enough.files):
            break
    return Usage(size, files, deep, largest, fullest)


def _walk(place: Place, skip: frozenset[str]) -> Generator[os.stat_result | None, None, None]:
    """Everything in a folder but itself; ``None`` for folders that are too deep."""
    with ExitStack() as stack:
        try:
            held = _held(stack, place)
        except OSError:
            return
        yield from _below(held, "", 1, skip)


def _held(stack: ExitStack, place: Place) -> int:
    """The folder, open: at once, or where somebody hid it from itself, step by step."""
    with suppress(OSError):
        held = stack.enter_context(door.folder(place.top.parent, f"{place.top.name}/{place.below}"))
        if os.fstat(held).st_mode & _READABLE == _READABLE:
            return held
    held = stack.enter_context(door.folder(place.top.parent))
    for part in (place.top.name, *filter(None, place.below.split("/"))):
        _make_readable(held, part)
        held = stack.enter_context(door.folder_at(held, part))
    return held


def _make_readable(held: int, name: str) -> None:
    """Give the owner of the folder ``name`` back its right to read it: hidden from itself is hidden from us."""
    looked = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=held)
    try:
        mode = os.fstat(looked).st_mode
        if mode & _READABLE != _READABLE:
            os.chmod(f"/proc/self/fd/{looked}", stat.S_IMODE(mode) | _READABLE)
    finally:
        os.close(looked)


def _below(held: int, path: str, depth: int, skip: frozenset[str]) -> Iterator[os.stat_result | None]:
    folders = []
    with suppress(OSError), os.scandir(held) as entries:
        for entry in entries:
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    if skip and f"{path}{entry.name}" in skip:
                        continue
                    folders.append(entry.name)
                    if found.st_mode & _READABLE != _READABLE:
                        _make_readable(held, entry.name)
                yield found
    for name in folders:
        if depth == DEEP:
            yield None
            return
        try:
            with door.folder_at(held, name) as inner:
                yield from _below(inner, f"{path}{name}/" if skip else "", depth + 1, skip)
        except OSError:  # it is gone, or is no folder any more
            continue


# -- files without a name ------------------------------------------------------------------------------------------


def unlinked(pids: Iterable[int], device: int) -> int:
    """Bytes on ``device`` of files that have no name any more, and that one of the processes ``pids`` holds open.

    Of a process that may not be looked at, nothing is known; neither is it of files that are only mapped to memory.
    """
    found: dict[int, int] = {}
    for pid in pids:
        with suppress(OSError):
            for number in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    # What the link leads to is looked at, and not opened.
                    held = os.stat(f"/proc/{pid}/fd/{number}")
                    if stat.S_ISREG(held.st_mode) and held.st_nlink == 0 and held.st_dev == device:
                        found[held.st_ino] = held.st_blocks * _BLOCK
    return sum(found.values())


def in_memory(pid: int, folders: Iterable[str]) -> int:
    """Files in ``folders``, file systems of their own in memory, as the process ``pid`` in a sandbox has them.

    They are mounted where no task can put a link. What ``pid`` shares with this machine is not counted: it has not
    entered yet.
    """
    files = 0
    for folder in folders:
        with suppress(OSError):
            inside = f"/proc/{pid}/root{folder}"
            if not os.path.exists(folder) or os.stat(inside).st_dev != os.stat(folder).st_dev:
                found = os.statvfs(inside)
                files += found.f_files - found.f_ffree
    return files


def descendants(pid: int) -> list[int]:
    """``pid`` and every process below it (proc_pid_task(5), ``children``)."""
    found: dict[int, None] = {}
    waiting = [pid]
    while waiting:
        if (here := waiting.pop()) in found:
            continue
        found[here] = None
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{here}/task"):
                with suppress(OSError), open(f"/proc/{here}/task/{thread}/children") as f:
                    waiting += map(int, f.read().split())
    return list(found)
