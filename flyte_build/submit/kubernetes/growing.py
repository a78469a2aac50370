"""Logs that grow while their action goes on, put into the storage meanwhile: whoever follows a run reads them there.

An object is stored whole each time, so the larger a log is, the longer the next time is waited for. What it is in the
end is stored by whoever sees the end.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from ...kernel.errors import RunError
from .mirror import Mirror

__all__ = ["Growing"]

# Seconds until a log that grew is stored, and how many bytes are one more.
_PAUSE, _BYTES = 2.0, 1 << 20


class Growing:
    """Those of one run, in the event loop that calls."""

    def __init__(self, mirror: Mirror, pause: float | None = None) -> None:
        self._mirror = mirror
        self._pause = _PAUSE if pause is None else pause
        self._shown: dict[Path, tuple[asyncio.Event, asyncio.Task[None]]] = {}

    def grew(self, log: Path) -> None:
        """``log`` has more than before; it is stored after a while. One that cannot be is stored in the end."""
        if log not in self._shown:
            over = asyncio.Event()
            self._shown[log] = over, asyncio.create_task(self._show(log, over))

    async def ended(self, log: Path) -> None:
        """Return once nothing is stored of ``log`` any more from here."""
        if (found := self._shown.get(log)) is not None:
            found[0].set()
            await asyncio.wait([found[1]])

    async def _show(self, log: Path, over: asyncio.Event) -> None:
        stored = 0
        try:
            while (size := _size(log)) > stored:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), self._pause + size / _BYTES)
                if over.is_set():
                    return
                data = await asyncio.to_thread(log.read_bytes)
                stored = len(data)
                await self._mirror.put(self._mirror.key(log), data)
        except (RunError, OSError):
            return
        finally:
            del self._shown[log]


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0
