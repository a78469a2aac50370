"""How many attempts run at once on this machine.

Every attempt takes its share of cores and memory (what its task asks for, else one core) before it starts. A parent
gives its share back while a child of it is alive: it only waits then, and if waiting parents counted, a tree deeper
than the machine is wide would never end. Deeper actions go first, so that few parents are held open at a time. Devices
are counted by a bank, which also says whose they are; a parent keeps its own. Knows names and numbers only.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from .action import Resources
from .gpus.bank import Bank

__all__ = ["Scheduler", "machine"]


def machine() -> tuple[float, int]:
    """This machine's cores (those we may run on) and memory in bytes."""
    return float(len(os.sched_getaffinity(0))), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@dataclass(slots=True)
class _Slot:
    name: str
    asked: Resources
    cpu: float
    memory: int
    gpus: int = 0
    counted: bool = False


@dataclass(order=True, slots=True)
class _Waiter:
    priority: tuple[int, int]
    slot: _Slot = field(compare=False)
    ready: asyncio.Future[None] = field(compare=False)


class Scheduler:
    """Shares ``cpu`` cores, ``memory`` bytes and the devices of ``bank`` out among attempts. For one event loop."""

    def __init__(self, cpu: float, memory: int, bank: Bank | None = None) -> None:
        self.bank = bank or Bank()
        self.bank.freed = self._wake
        self._free_cpu = self._cpu = cpu
        self._free_memory = self._memory = memory
        self._order = itertools.count()
        self._waiting: list[_Waiter] = []
        self._slots: dict[str, _Slot] = {}
        self._blocked: set[str] = set()

    @asynccontextmanager
    async def slot(self, name: str, depth: int, asked: Resources) -> AsyncIterator[None]:
        """:meth:`turn`, and :meth:`over` at the block's end."""
        await self.turn(name, depth, asked)
        try:
            yield
        finally:
            self.over(name)

    async def turn(self, name: str, depth: int, asked: Resources) -> None:
        """Wait for a share for the action ``name``, ``depth`` levels below the root, and hold it until it is
        :meth:`over`.

        One that asks for more than the machine has gets all of it.
        """
        cpu, memory = min(asked.cpu or 1.0, self._cpu), min(asked.memory or 0, self._memory)
        slot = _Slot(name, asked, cpu, memory, self.bank.count(asked))
        waiter = _Waiter((-depth, next(self._order)), slot, asyncio.get_running_loop().create_future())
        heapq.heappush(self._waiting, waiter)
        self._wake()
        try:
            await waiter.ready
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                heapq.heapify(self._waiting)
            self._release(slot)
            self._give(slot)
            self._wake()
            raise
        self._slots[name] = slot
        if name in self._blocked:
            self._release(slot)
            self._wake()

    def over(self, name: str) -> None:
        """The action has had its turn."""
        slot = self._slots.pop(name)
        self._release(slot)
        self._give(slot)
        self._wake()

    def block(self, name: str) -> None:
        """The action waits for a child from now on."""
        self._blocked.add(name)
        self.bank.look()
        if (slot := self._slots.get(name)) is not None:
            self._release(slot)
            self._wake()

    def unblock(self, name: str) -> None:
        """The action's last living child has ended: it goes on at once, even beyond what the machine has."""
        self._blocked.discard(name)
        if (slot := self._slots.get(name)) is not None and not slot.counted:
            self._take(slot)

    def waits(self, name: str) -> bool:
        """Whether the action only waits for its children now."""
        return name in self._blocked

    def _take(self, slot: _Slot) -> None:
        slot.counted = True
        self._free_cpu -= slot.cpu
        self._free_memory -= slot.memory

    def _release(self, slot: _Slot) -> None:
        if slot.counted:
            slot.counted = False
            self._free_cpu += slot.cpu
            self._free_memory += slot.memory

    def _give(self, slot: _Slot) -> None:
        if slot.gpus:
            self.bank.give(slot.name)

    def _wake(self) -> None:
        passed: list[_Waiter] = []
        while self._waiting:
            first = self._waiting[0]
            # A small tolerance: fractions of cores do not add up exactly.
            if first.slot.cpu > self._free_cpu + 1e-9 or first.slot.memory > self._free_memory:
                break
            heapq.heappop(self._waiting)
            # Who waits for a device only is passed by those that need none, and by nobody else.
            if first.slot.gpus and (any(w.slot.gpus for w in passed) or not self.bank.fits(first.slot.gpus)):
                passed.append(first)
                continue
            self._take(first.slot)
            if first.slot.gpus:
                self.bank.take(first.slot.name, first.slot.asked, partial(self.waits, first.slot.name))
            if not first.ready.done():
                first.ready.set_result(None)
        for waiter in passed:
            heapq.heappush(self._waiting, waiter)
