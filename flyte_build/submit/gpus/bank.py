"""Who has which device. Each is one holder's; only where all who hold one wait for actions of their own, they share.

A parent that waits keeps its device: its process has memory there. Were its children to wait for it, nothing would ever
go on. Knows names and devices only. For one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ..action import Resources
from .nouns import Gpu, Gpus

__all__ = ["Bank"]


class Bank:
    """``gpus`` are all that there are. ``freed`` is called where some may have become free, ``lacked`` where somebody
    has to wait for one."""

    def __init__(self, gpus: Gpus | None = None) -> None:
        self.gpus = gpus or Gpus()
        self.freed: Callable[[], object] = lambda: None
        self.lacked: Callable[[], object] = lambda: None
        self._holders: dict[str, tuple[tuple[Gpu, ...], Callable[[], bool]]] = {}
        self._waiting: list[asyncio.Future[None]] = []

    def count(self, asked: Resources) -> int:
        """How many are given to who asks for these: no more than there are."""
        return min(asked.gpus, len(self.gpus.devices))

    def fits(self, count: int) -> bool:
        """Whether as many can be taken now."""
        if not count or count <= len(self.gpus.devices) - len(self._held()):
            return True
        shared = all(waits() for _, waits in self._holders.values())
        if not shared:
            self.lacked()
        return shared

    def _held(self) -> set[str]:
        return {device.name for devices, _ in self._holders.values() for device in devices}

    def take(self, name: str, asked: Resources, waits: Callable[[], bool]) -> tuple[Gpu, ...]:
        """Take them for ``name``, of which ``waits`` says whether it only waits for actions of its own.

        Of those with the fewest holders, whole ones or partitions as it asks.
        """
        users = [device.name for devices, _ in self._holders.values() for device in devices]
        order = sorted(self.gpus.devices, key=lambda d: (users.count(d.name), d.partition != asked.partition))
        found = tuple(order[: self.count(asked)])
        if found:
            self._holders[name] = found, waits
        return found

    def of(self, name: str) -> tuple[Gpu, ...]:
        """What ``name`` has."""
        return self._holders[name][0] if name in self._holders else ()

    def shared(self, name: str) -> bool:
        """Whether another one has some of it, too."""
        own = {device.name for device in self.of(name)}
        return any(own & {d.name for d in devices} for n, (devices, _) in self._holders.items() if n != name)

    def give(self, name: str) -> None:
        """It has ended."""
        if self._holders.pop(name, None) is not None:
            self.look()
            self.freed()

    def look(self) -> None:
        """Who waits looks again."""
        while self._waiting:
            waiting = self._waiting.pop()
            if not waiting.done():
                waiting.set_result(None)

    async def wait(self, name: str, asked: Resources, waits: Callable[[], bool]) -> tuple[Gpu, ...]:
        """As :meth:`take`, once it fits."""
        while not self.fits(self.count(asked)):
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting
        return self.take(name, asked, waits)

    @asynccontextmanager
    async def held(self, name: str, asked: Resources, waits: Callable[[], bool]) -> AsyncIterator[tuple[Gpu, ...]]:
        """What ``name`` has already, else what it gets, once that is free, for the time of the block."""
        if self.of(name) or not self.count(asked):
            yield self.of(name)
            return
        found = await self.wait(name, asked, waits)
        try:
            yield found
        finally:
            self.give(name)

    def lines(self, asked: Resources) -> list[str]:
        """What is said to who asks for accelerators, where it does not get just these."""
        count, accelerator = self.count(asked), asked.accelerator
        if accelerator is None:
            return []
        if not count:
            return [f"tasks run without the accelerators they ask for ({accelerator}) on this machine"]
        said = []
        if count < asked.gpus:
            said.append(f"tasks that ask for {accelerator} get {count} here: this machine has no more")
        model = accelerator.partition(":")[0]
        others = sorted({d.model for d in self.gpus.devices if d.model})
        if model not in ("gpu", "nvidia.com/gpu") and others and not any(_alike(model, other) for other in others):
            said.append(f"tasks that ask for {model} get {' or '.join(others)} here")
        if asked.partition and not any(d.partition for d in self.gpus.devices):
            said.append(f"tasks that ask for a part of {model} get whole GPUs here: this machine's are not parted")
        return said


def _alike(asked: str, model: str) -> bool:
    """``A100``, ``A100_80G`` and ``NVIDIA A100-SXM4-80GB``."""
    words = model.upper().replace("-", " ").split()
    wanted = asked.upper().replace("_", " ").split()
    return all(any(w in (word, word.removesuffix("B")) for word in words) for w in wanted)
