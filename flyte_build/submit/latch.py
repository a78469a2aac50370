"""An event of one event loop that takes next to nothing until somebody waits for it."""

from __future__ import annotations

import asyncio

__all__ = ["Latch"]


class Latch:
    """As ``asyncio.Event``, which has 700 bytes before anybody waits: a run has two for each of its thousands of
    actions. Meant for a few who wait at once."""

    __slots__ = ("_set", "_waiting")

    def __init__(self) -> None:
        self._set = False
        self._waiting: tuple[asyncio.Future[None], ...] = ()

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        """Whoever waits goes on, also if it is cleared before they do."""
        self._set = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        self._set = False

    async def wait(self) -> None:
        """Return once it is set, at once if it is."""
        if self._set:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting += (waiter,)
        try:
            await waiter
        finally:
            self._waiting = tuple(other for other in self._waiting if other is not waiter)
