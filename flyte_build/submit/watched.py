"""One attempt that is watched: its folders, its limits, what it has used, and how it is ended (see ``watch``)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from ..kernel.values import dataclass, field
from .action import Outcome
from .limits import Limits, Room
from .usage import NOTHING, Place, Usage, measure

__all__ = ["Count", "Running", "Watched"]

QUICK_SECONDS = 0.1
_CALM, _HURRY = 49, 9
_FEW = 8


class Running(Protocol):
    """A sandbox, as far as it matters here; see :class:`~.sandbox.process.Process`."""

    @property
    def pid(self) -> int: ...

    async def stop(self, grace: float = ...) -> int: ...


@dataclass(slots=True)
class Count:
    """A count that is repeated: when the last one was, in seconds of the clock, and what the file system had then."""

    at: float = float("-inf")
    took: float = 0.0
    room: Room | None = None

    def due(self, now: float, *, hurry: bool, many: int = 1) -> bool:
        """Whether it is time for the next; ``many``: as many are counted."""
        least = QUICK_SECONDS if hurry else QUICK_SECONDS * max(many / _FEW, 1)
        return now - self.at >= max(self.took * (_HURRY if hurry else _CALM), least)


@dataclass(slots=True, eq=False)
class Watched:
    """One attempt. ``scratch`` are its folders that end with it, ``own`` those in ``meta`` and ``raw``.

    ``began`` is what the file system had then, ``seeded`` what its folders had from its image, ``used`` what it has
    added, ``deleted`` bytes in files without a name, ``memory`` files in the folders ``tmpfs``, and ``stray`` what was
    added meanwhile outside of everybody's folders. ``outcome`` is there once it is beyond a limit; ``then`` is
    called at the end of one that is not, in a thread, for what it came to, and before it, in the event loop, ``soon``,
    which gives ``None`` where that takes long.
    """

    limits: Limits
    began: Room
    scratch: Sequence[Place]
    own: Sequence[Place]
    seeded: Usage = NOTHING
    used: Usage = NOTHING
    stray: Usage = NOTHING
    deleted: int = 0
    tmpfs: Sequence[str] = ()
    memory: int = 0
    outcome: Outcome | None = None
    count: Count = field(default_factory=Count)
    pid: int | None = None
    then: Callable[[], Outcome] | None = None
    soon: Callable[[], Outcome | None] | None = None
    came_to: Outcome | None = None
    _end: Callable[[], None] = lambda: None

    def runs(self, running: Running) -> None:
        """Its processes; they are ended when it passes a limit, at once. For the event loop that it runs in."""
        loop = asyncio.get_running_loop()
        ending: set[asyncio.Task[int]] = set()

        def end() -> None:
            ending.add(loop.create_task(running.stop(grace=0)))

        def tell() -> None:
            with suppress(RuntimeError):  # the loop has ended, and everything with it
                loop.call_soon_threadsafe(end)

        self.pid, self._end = running.pid, tell
        if self.outcome is not None:
            end()

    @property
    def total(self) -> int:
        return self.used.size + self.stray.size + self.deleted

    def near(self, now: Room) -> bool:
        """Whether it may have passed a limit since the last count, if all that is gone was its doing."""
        before = self.count.room
        if before is None:
            return False
        inodes = (before.free_inodes or 0) - (now.free_inodes or 0)
        return (
            before.free - now.free > self.limits.disk - self.total
            or inodes > self.limits.files - self.used.files - self.stray.files
        )

    def measure(self) -> None:
        enough = Usage(self.seeded.size + self.limits.disk, self.seeded.files + self.limits.files)
        self.used = measure([*self.scratch, *self.own], enough=enough) - self.seeded

    def exceeds(self) -> Outcome | None:
        memory = Usage(files=self.memory, many="memory-backed folders")
        return self.limits.judge(self.used + self.stray + memory, self.deleted)

    def end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._end()
