"""While tasks run, a thread looks at what they have written, and ends those that are beyond their limits.

Quotas that the kernel keeps are for root, and for few file systems. So the folders of each attempt are counted (see
``usage``), and between two counts only what is left of the file system is looked at: that costs a system call, and
tells at once where somebody writes fast. Counting takes a fiftieth of a processor: the next count waits 49 times as
long as the last one took, or nine times where so much was written meanwhile that a limit may have been passed; of many
attempts, each is counted the more seldom.

What tasks write into their run's ``meta`` and ``raw`` outside of their own folders is nobody's by its place: what is
added there counts for every task that runs, and the one with most of all ends. Never removes anything.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

from ..kernel.quantities import size
from .action import LaunchRequest, Outcome
from .limits import Limits, Reserve, Room, TaskLimits, room
from .storage import MOUNT, RunFolder
from .usage import NOTHING, Place, Usage, descendants, in_memory, measure, unlinked
from .watched import QUICK_SECONDS, Count, Watched

__all__ = ["Watch", "Watched"]


_LITTLE = Usage(1 << 62, 8)


class Watch:
    """Watches the attempts of one run. Its thread lives as long as any of them does; ``warn`` is told in the loop."""

    def __init__(
        self,
        folder: RunFolder,
        said: TaskLimits,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._said, self._warn, self._clock = folder, said, warn, clock
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._live: list[Watched] = []
        self._changes = 0
        self._strays: Usage | None = None
        self._count = Count()
        self._first: Room | None = None
        self._reserve = Reserve(0)
        self._grown = 0
        self._crisis = Count()
        self._told = False
        # Of processes, which the actions of a replica share, in one look: all below each, and its files in memory.
        self._below: dict[int, tuple[list[int], int]] = {}

    @asynccontextmanager
    async def over(
        self, request: LaunchRequest, scratch: Iterable[Place], tmpfs: Sequence[str] = ()
    ) -> AsyncIterator[Watched]:
        """Watch an attempt for the time of the block; at its end it is counted once more. Its folders are there."""
        self._loop = asyncio.get_running_loop()
        places = tuple(scratch)
        if places or self._strays is None:
            watched = await asyncio.to_thread(self.enter, request, places)
        else:
            watched = self.enter(request, places)  # there is nothing to count
        watched.tmpfs = tmpfs
        self._start()
        try:
            yield watched
        except BaseException:
            self.drop(watched)
            raise
        # Of an attempt that shares its folders only these two are its own, and hold next to nothing, mostly.
        left = None if watched.scratch else measure(watched.own, enough=_LITTLE)
        if left is None or left.files > _LITTLE.files:
            await asyncio.to_thread(self.leave, watched)
            return
        self._count_last(watched, left)
        if watched.outcome is None:
            watched.came_to = watched.soon() if watched.soon is not None else None
            if watched.came_to is None and watched.then is not None:
                watched.came_to = await asyncio.to_thread(watched.then)

    def enter(self, request: LaunchRequest, scratch: Sequence[Place]) -> Watched:
        """Begin; see :meth:`over`."""
        now = room(self._folder.path)
        if self._first is None:
            self._first, self._reserve = now, Reserve.of(now)
        limits = Limits.of(request.resources.disk, self._said, now, self._reserve)
        own = [
            Place(
                self._folder.path, f"{name}/{request.action}/{request.attempt}", f"{MOUNT}/{self._folder.name}/{name}"
            )
            for name in ("meta", "raw")
        ]
        # Nothing is written yet: it is counted for the first time when it has run for a while, and once at its end.
        watched = Watched(limits, now, scratch, own, measure(scratch), count=Count(self._clock(), room=now))
        with self._lock:
            self._live.append(watched)
            self._changes += 1
        if self._strays is None:
            self._look_at_strays()
        return watched

    def leave(self, watched: Watched) -> None:
        """Count it for the last time; from here on, what it leaves in ``meta`` and ``raw`` is nobody's."""
        self._count_last(watched, measure(watched.own))
        if watched.outcome is None and watched.then is not None:
            watched.came_to = watched.then()

    def _count_last(self, watched: Watched, left: Usage) -> None:
        if watched.outcome is None:
            watched.used = measure(watched.scratch) + left - watched.seeded
            watched.deleted = watched.memory = 0
            watched.outcome = watched.exceeds()
        self.drop(watched, left)

    def drop(self, watched: Watched, left: Usage = NOTHING) -> None:
        with self._lock:
            if watched in self._live:
                self._live.remove(watched)
                self._changes += 1
                if self._strays is not None:
                    self._strays = self._strays + left
                self._grown += left.size

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="flyte-build watch", daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        while True:
            with self._lock:
                if not self._live:
                    self._thread = None
                    return
            try:
                self.look()
            except (OSError, ValueError, RuntimeError) as e:
                self._say(f"what tasks write cannot be watched: {e}")
            time.sleep(QUICK_SECONDS)

    def look(self) -> None:
        """Look once, and count what is due. Raises :class:`OSError` where the file system cannot be asked."""
        now = room(self._folder.path)
        self._below.clear()
        running = self._running()
        for watched in running:
            if watched.count.due(self._clock(), hurry=watched.near(now), many=len(running)):
                self._measure(watched, now, hidden=watched.began.free - now.free > watched.limits.disk)
                if (outcome := watched.exceeds()) is not None:
                    watched.end(outcome)
        running = self._running()
        if running and self._count.due(self._clock(), hurry=any(w.near(now) for w in running)):
            self._look_at_strays()
            self._judge_strays()
        if self._reserve.lacking(now) and self._crisis.due(self._clock(), hurry=True):
            self._relieve()

    def _running(self) -> list[Watched]:
        with self._lock:
            return [w for w in self._live if w.outcome is None]

    def _measure(self, watched: Watched, now: Room, *, hidden: bool) -> None:
        """Count it; ``hidden``: files without a name, too, which takes a look at each of its processes."""
        started = self._clock()
        watched.measure()
        watched.deleted = watched.memory = 0
        if watched.pid is not None:
            if watched.pid not in self._below:
                found = descendants(watched.pid)
                self._below[watched.pid] = found, in_memory(found[1], watched.tmpfs) if len(found) > 1 else 0
            below, watched.memory = self._below[watched.pid]
            watched.deleted = unlinked(below, os.stat(self._folder.path).st_dev) if hidden else 0
        watched.count = Count(self._clock(), self._clock() - started, now)

    def _look_at_strays(self) -> None:
        with self._lock:
            changes, live = self._changes, list(self._live)
        places = [Place(self._folder.path, n, f"{MOUNT}/{self._folder.name}/{n}") for n in ("meta", "raw")]
        skip = frozenset(place.below.partition("/")[2] for w in live for place in w.own)
        started = self._clock()
        found = measure(places, skip=skip)
        with self._lock:
            self._count = Count(self._clock(), self._clock() - started)
            if changes != self._changes:
                return  # somebody's folders became nobody's meanwhile, or the other way round
            if self._strays is not None:
                added = found.size - self._strays.size, found.files - self._strays.files
                self._grown += added[0]
                for w in live:
                    stray, many = max(w.stray.size + added[0], 0), max(w.stray.files + added[1], 0)
                    w.stray = Usage(stray, many, most=found.most, many=found.many)
            self._strays = found

    def _judge_strays(self) -> None:
        running = self._running()
        beyond = [(w, outcome) for w in running if (outcome := w.exceeds()) is not None]
        if beyond:
            worst, outcome = max(beyond, key=lambda b: (b[0].total, b[0].used.files + b[0].stray.files))
            worst.end(outcome)
            for w in running:
                w.stray = NOTHING

    def _relieve(self) -> None:
        """The file system is almost full: end the task that takes most of it, where it is tasks that filled it."""
        started = self._clock()
        self._below.clear()
        for watched in self._running():
            self._measure(watched, room(self._folder.path), hidden=True)
        now = room(self._folder.path)
        running, lacking, first = self._running(), self._reserve.lacking(now), self._first
        if running and lacking and first is not None:
            if lacking == "disk":
                worst = max(running, key=lambda w: w.total)
                its, gone = worst.total, first.free - now.free
                ours = sum(w.used.size + w.deleted for w in running) + max(self._grown, 0)
                left, least = size(now.free), size(self._reserve.size)
                found = f"had {size(its)}, and its file system has {left} left, expected {least}"
            else:
                worst = max(running, key=lambda w: w.used.files)
                its = worst.used.files
                ours, gone = sum(w.used.files for w in running), (first.free_inodes or 0) - (now.free_inodes or 0)
                left, least = f"{now.free_inodes or 0:,}", f"{self._reserve.inodes:,}"
                found = f"had {its:,} files, and its file system has room for {left} more, expected {least}"
            if its and 2 * ours >= gone:
                worst.end(Outcome(137, lacking, f"it {found}; no other task had more"))
            else:
                self._say(f"{self._folder.path}: its file system is almost full, and not by what tasks write there")
        self._crisis = Count(self._clock(), self._clock() - started)

    def _say(self, message: str) -> None:
        if not self._told:
            self._told = True
            if self._loop is None:
                self._warn(message)
            else:
                with suppress(RuntimeError):  # the loop has ended
                    self._loop.call_soon_threadsafe(self._warn, message)
