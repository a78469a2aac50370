"""What a task may use up on this machine, and how it is told that it was too much. Values; asks the file system once.

A task's ``disk`` is its limit; where it asks for none, the settings say, and where they say nothing it is what the
file system has free, but for a reserve. The reserve is left whoever asks: a machine whose disk is full is nobody's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from ..kernel.quantities import size
from ..kernel.values import dataclass
from .action import Outcome
from .usage import DEEP, Usage

__all__ = ["MOST_FILES", "Limits", "Reserve", "Room", "TaskLimits", "room", "shared_memory"]

MOST_FILES = 1_000_000

_SHARE, _LEAST, _MOST = 20, 1 << 30, 20 << 30
_Kind = Literal["disk", "files"]


@dataclass(frozen=True, slots=True)
class TaskLimits:
    """What a project says of all its tasks: ``disk`` in bytes, for those that ask for none; ``files`` of each."""

    disk: int | None = None
    files: int = MOST_FILES


@dataclass(frozen=True, slots=True)
class Room:
    """Of a file system: bytes, and inodes where it has a fixed number of them (else None)."""

    size: int
    free: int
    inodes: int | None = None
    free_inodes: int | None = None


def room(path: Path) -> Room:
    """The file system that ``path`` is on, as this user has it. Raises :class:`OSError`."""
    found = os.statvfs(path)
    inodes = (found.f_files, found.f_favail) if found.f_files else (None, None)
    return Room(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, *inodes)


@dataclass(frozen=True, slots=True)
class Reserve:
    """What shall stay free of a file system: bytes, and inodes."""

    size: int
    inodes: int = 0

    @classmethod
    def of(cls, now: Room) -> Reserve:
        """5 % of it, from 1 to 20 GiB, but no more than half of what is free now; of inodes 1 %, likewise."""
        inodes = 0
        if now.inodes is not None and now.free_inodes is not None:
            inodes = min(now.inodes // 100, now.free_inodes // 2)
        return cls(min(max(now.size // _SHARE, _LEAST), _MOST, now.free // 2), inodes)

    def lacking(self, now: Room) -> _Kind | None:
        """What there is too little of, if anything."""
        if now.free < self.size:
            return "disk"
        return "files" if now.free_inodes is not None and now.free_inodes < self.inodes else None


@dataclass(frozen=True, slots=True)
class Limits:
    """One attempt's: ``disk`` in bytes, ``files``; ``asked`` says whether it is the task that named the first."""

    disk: int
    files: int
    asked: bool = False

    @classmethod
    def of(cls, asked: int | None, said: TaskLimits, now: Room, reserve: Reserve) -> Limits:
        """``asked`` is the task's own."""
        files = said.files
        if now.free_inodes is not None:
            files = max(min(files, now.free_inodes - reserve.inodes), 1)
        if asked is not None:
            return cls(asked, files, asked=True)
        return cls(said.disk if said.disk is not None else max(now.free - reserve.size, 1), files)

    def judge(self, found: Usage, extra: int = 0) -> Outcome | None:
        """The outcome for who uses ``found``, and ``extra`` bytes in files without a name; None where that is fine."""
        total = found.size + extra
        if total > self.disk:
            where = (
                f"most of it in {found.most}" if found.size >= extra else "most of it in deleted files that were open"
            )
            whose = "asked for" if self.asked else "may have"
            return Outcome(137, "disk", f"it {whose} {size(self.disk)} on disk, and had {size(total)}, {where}")
        if found.files > self.files:
            words = f"it may have {self.files:,} files, and had {found.files:,}, most of them in {found.many}"
            return Outcome(137, "files", words)
        if found.deep:
            return Outcome(137, "files", f"it may have folders {DEEP} deep in each other, and had deeper ones")
        return None


def shared_memory(asked: int | None, memory: int | None, there: int) -> int:
    """Bytes of /dev/shm: what the task asks for, else as much as its memory, else a quarter of the machine's."""
    return asked or memory or there // 4
