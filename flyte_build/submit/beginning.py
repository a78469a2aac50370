"""When a task begins: as its runtime reads its inputs, which it does when it has imported the task's module.

A sandbox's start, a cold interpreter's and the imports are none of the task's own time: how long they take is the
machine's affair. So a timeout counts from when the inputs are opened, which the kernel tells (inotify(7), which sees it
from inside of any sandbox), and at the latest from ``PATIENCE`` seconds after the attempt's process was started, for
those that never come to it. Where the kernel has no watches left, it counts from the process's start.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from .action import LaunchRequest
from .storage import RunFolder
from .template import RUNTIME

__all__ = ["PATIENCE", "Beginning", "Beginnings"]

PATIENCE = 60.0
"""Seconds that a runtime may take to come to its task."""

_OPEN = 0x20  # IN_OPEN
_ONCE = 0x80000000  # IN_ONESHOT
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Beginning:
    """One attempt's. ``patience`` is what is left to its runtime."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._began: float | None = None
        self._limit: asyncio.Timeout | None = None
        self._seconds = 0.0

    def tell(self) -> None:
        """The task begins."""
        if self._began is None:
            self._began = asyncio.get_running_loop().time()
            if self._limit is not None:
                self._limit.reschedule(self._began + self._seconds)

    @contextlib.asynccontextmanager
    async def within(self, seconds: float | None) -> AsyncIterator[None]:
        """Raise TimeoutError ``seconds`` after the task began. Its process has just been started."""
        async with asyncio.timeout(None) as limit:
            if seconds is not None:
                latest = asyncio.get_running_loop().time() + self._patience
                limit.reschedule((latest if self._began is None else self._began) + seconds)
                self._limit, self._seconds = limit, seconds
            try:
                yield
            finally:
                self._limit = None


class Beginnings:
    """Those of a run's attempts; ``close`` ends it. For one event loop."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._notes: int | None = None
        self._waiting: dict[int, Beginning] = {}

    @contextlib.contextmanager
    def of(self, request: LaunchRequest) -> Iterator[Beginning]:
        """The attempt's, which is not started yet; for the time of the block."""
        watch = None
        if request.timeout is not None and request.args[:1] == (RUNTIME,):
            watch = self._watch(self._folder.inputs(request.action))
        beginning = Beginning(PATIENCE if watch is not None else 0.0)
        if watch is not None:
            self._waiting[watch] = beginning
        try:
            yield beginning
        finally:
            if watch is not None and self._waiting.pop(watch, None) is not None and self._notes is not None:
                _libc.inotify_rm_watch(self._notes, watch)

    def close(self) -> None:
        if self._notes is not None:
            asyncio.get_running_loop().remove_reader(self._notes)
            os.close(self._notes)
            self._notes = None

    def _watch(self, path: Path) -> int | None:
        if self._notes is None:
            notes = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
            if notes < 0:
                return None
            self._notes = notes
            asyncio.get_running_loop().add_reader(notes, self._hear)
        watch = _libc.inotify_add_watch(self._notes, os.fsencode(path), ctypes.c_uint32(_OPEN | _ONCE))
        return watch if watch >= 0 else None

    def _hear(self) -> None:
        assert self._notes is not None
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._notes, 1 << 16)
            at = 0
            while at + _EVENT.size <= len(data):
                watch, what, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size + length
                if what & _OPEN and (beginning := self._waiting.pop(watch, None)) is not None:
                    beginning.tell()
