"""One replica in a pod: what its process is told and has said, each once, and how it ends.

Orders are numbered and given again until the next question says that they came; words are numbered by who says them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..action import LaunchRequest, Outcome
from ..warm.calling import LEFT, MOST
from ..warm.member import Member
from .sight import QUEUED, Sight

__all__ = ["PodReplica", "Said"]

# Seconds that a question waits for its answer; whoever asks waits longer (see ``warm/calling``).
_HOLD = 20.0
Said = Callable[[str, int, str], None]


@dataclass(slots=True, eq=False, kw_only=True)
class PodReplica(Member):
    """One pod, whose Job is ``name``. ``end`` deletes it; ``said`` hears lines about an attempt, ``grew`` of a log that
    has more than before while its action goes on. ``where`` it runs, in words, once it was seen to."""

    name: str
    end: Callable[[], Awaitable[object]]
    said: Said
    grew: Callable[[Path], object]
    first: LaunchRequest
    ready: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    watching: asyncio.Task[Sight] | None = None
    where: str = ""
    requests: dict[int, LaunchRequest] = field(default_factory=dict)
    _process: str = ""
    _heard: int = 0
    _orders: list[Mapping[str, Any]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, number: int, request: LaunchRequest) -> None:
        self.requests[number] = request
        self._order({"id": number, "argv": list(request.args)})
        self._tell(request)

    def _tell(self, request: LaunchRequest) -> None:
        where = self.where.removeprefix("running")
        self.said(request.action, request.attempt, f"runs in replica {self.name}{where}")

    def cancel(self, number: int) -> None:
        self._order({"cancel": number})

    def _order(self, order: Mapping[str, Any]) -> None:
        self._orders.append({**order, "number": next(self._numbers)})
        self._news.set()

    def over(self) -> None:
        Member.over(self)
        self._news.set()

    async def stop(self) -> Outcome:
        self.over()
        seen = self.watching.result() if self.watching is not None and self.watching.done() else None
        await self.end()
        outcome = seen.outcome if seen is not None else None
        if outcome is None or outcome.exit_code == LEFT:
            return Outcome(137, "lost", "its replica is gone", "Interrupted")
        return outcome

    def looks(self, action: str, attempt: int, line: str) -> None:
        """What is seen of its pod, as a line for people."""
        if not self.ready.done():
            self.said(action, attempt, line)
        if line.startswith("running"):
            self.where = line
            for request in self.requests.values():
                self._tell(request)
        elif self.where and line.startswith(QUEUED):
            self.over()  # Kueue took its place: another pod of the same Job would know nothing of its actions

    def knows(self, process: str) -> bool:
        """Whether ``process`` is this replica: its first caller. Another one says that the first is gone."""
        self._process = self._process or process
        if self._process != process:
            self.over()
        return not self.ended

    async def orders(self, after: int) -> list[Mapping[str, Any]]:
        """Those that came after the order ``after``, as soon as there is one."""
        self._orders = [order for order in self._orders if order["number"] > after]
        if not self._orders:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _HOLD)
        return list(self._orders)

    def take(self, number: int, message: Mapping[str, Any]) -> None:
        """Its word ``number``; raises LookupError, TypeError, ValueError for what is none."""
        if number <= self._heard:
            return  # it had no answer to it
        self._heard = number
        if "ready" in message or "refused" in message:
            if not self.ready.done():
                self.ready.set_result(str(message.get("refused") or "")[:500])
        elif "log" in message:
            log = self.requests[message["id"]].log
            with open(log, "ab") as f:
                f.write(base64.b64decode(message["log"])[: max(MOST - f.tell(), 0)])
            if message.get("goes_on"):
                self.grew(log)
        else:
            self.hear(message)
            self.requests.pop(message["id"], None)
