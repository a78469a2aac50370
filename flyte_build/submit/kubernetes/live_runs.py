"""The runs of an object storage while they go on, for whoever looks at them again and again: lists and pages.

Only reads. What has ended is not asked for again in a list, of a run that goes on only what is new is fetched, and who
asks twice within a second gets one answer. Any thread may ask.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from ..history import Run
from ..journal import ActionRecord
from ..loop import run_apart
from .mirror import Mirror
from .page_files import fetch_action
from .reading import StoredRun, full_name, newest

__all__ = ["LiveRuns"]

_FRESH = 1.0
_AT_ONCE = 16


class LiveRuns:
    """See above; every method raises :class:`RunError` where the storage cannot be read."""

    def __init__(self, mirror: Mirror, clock: Callable[[], float] = time.monotonic) -> None:
        self.mirror = mirror
        self._clock = clock
        self._lock = threading.Lock()
        self._began: dict[str, float] = {}
        self._stored: dict[str, StoredRun] = {}
        self._last: dict[str, tuple[float, Run]] = {}

    def runs(self, limit: int) -> list[Run]:
        """The newest so many, the newest first."""
        with self._lock:
            return run_apart(self._runs(limit))

    def find(self, name: str) -> Run:
        """The run whose name begins with ``name``; raises :class:`RunError` where that is not exactly one."""
        with self._lock:
            return run_apart(self._find(name))

    def files(self, run: Run, record: ActionRecord) -> ActionRecord:
        """The record of one action, with all that a page shows of it on this machine."""
        with self._lock:
            return run_apart(fetch_action(self.mirror, run, record))

    async def _runs(self, limit: int) -> list[Run]:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def listed(name: str) -> Run:
            last = self._last.get(name)
            if last is not None and not last[1].running:
                return last[1]
            async with slots:
                return await self._now(name)

        return list(await asyncio.gather(*map(listed, await newest(self.mirror, limit, self._began))))

    async def _find(self, name: str) -> Run:
        return await self._now(name if name in self._stored else await full_name(self.mirror, name))

    async def _now(self, name: str) -> Run:
        last = self._last.get(name)
        if last is not None and self._clock() - last[0] < _FRESH:
            return last[1]
        run = await self._stored.setdefault(name, StoredRun(self.mirror, name)).now()
        self._last[name] = self._clock(), run
        return run
