"""One replica as its scheduler sees it: places for actions, what was asked of it, and what it answered.

How it is reached and ended is its kind's affair: a process of this machine (``replicas``), or a pod
(``kubernetes/replica_pods``).
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from ..action import LaunchRequest, Outcome, ReusePolicy
from ..sandbox.process import GRACE_SECONDS

__all__ = ["Member"]


@dataclass(slots=True, eq=False, kw_only=True)
class Member:
    """``actions`` are those that have a place in it. Once it is ``ended`` nothing is heard of it any more; ``drained``:
    it takes no others."""

    policy: ReusePolicy
    actions: set[str] = field(default_factory=set)
    drained: bool = False
    ended: bool = False
    timer: asyncio.TimerHandle | None = None
    _flights: dict[int, asyncio.Future[int | None]] = field(default_factory=dict)
    _count: int = 0

    @property
    def free(self) -> bool:
        return not self.ended and not self.drained and len(self.actions) < self.policy.concurrency

    def begin(self, number: int, request: LaunchRequest) -> None:
        """Ask for the action; raises OSError where nobody is there to ask."""
        raise NotImplementedError

    def cancel(self, number: int) -> None:
        """Ask the action to end; raises OSError where nobody is there to ask."""
        raise NotImplementedError

    async def stop(self) -> Outcome:
        """End it and all that is in it: how it ended, as an action that was alone in it did."""
        raise NotImplementedError

    def hear(self, said: Any) -> None:
        """An action's end, as the replica tells it. Raises LookupError, TypeError, ValueError: no words of ours."""
        flight, code, changed = self._flights.pop(said["id"]), int(said["code"]) & 0xFF, said.get("changed")
        if not flight.done():
            flight.set_result(code)
        self.drained = self.drained or bool(changed)

    def over(self) -> None:
        """It is gone, and so are its actions."""
        self.ended = True
        for flight in self._flights.values():
            if not flight.done():
                flight.set_result(None)

    async def run(self, request: LaunchRequest, within: AbstractAsyncContextManager[None]) -> int | None:
        """Run it; ``None`` where the replica ended meanwhile. Raises TimeoutError once the action is ended for that.

        ``within`` holds it to its timeout (see ``beginning``).
        """
        self._count += 1
        number = self._count
        flight = self._flights[number] = asyncio.get_running_loop().create_future()
        try:
            self.begin(number, request)
        except OSError:
            self.over()
        try:
            async with within:
                return await asyncio.shield(flight)
        except (TimeoutError, asyncio.CancelledError):
            await self._cancel(number, flight)
            raise

    async def _cancel(self, number: int, flight: asyncio.Future[int | None]) -> None:
        """Ask the action to end. One that does not is the last of its replica, which takes no others from now on."""
        with contextlib.suppress(OSError):
            self.cancel(number)
        if not self.ended and self.policy.concurrency > 1:
            await asyncio.wait([flight], timeout=GRACE_SECONDS)
        if not flight.done():
            self.drained = True
