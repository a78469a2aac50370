"""The reporter as people see it: bars on a terminal; elsewhere a line at the end, and more where that takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..kernel import tracing
from ..kernel.reporting import Progress, Reporter
from .console import duration, interactive, room, size, stderr, wrapped
from .errors import nearer, say

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

__all__ = ["make_reporter"]

# Seconds after which what goes on says so where nothing is drawn, and after which it says so again.
_FIRST, _NEXT = 5.0, 30.0


class _Times(threading.local):
    """The seconds that a thread's lines have told."""

    told = 0.0


class _Said:
    """Notes and warnings, each warning once. What a line tells of is not told once more by the work around it."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._warned: set[str] = set()
        self._lock = threading.Lock()
        self._times = _Times()

    def _worth(self, took: float, before: float, least: float, amount: str) -> bool:
        """Whether work of ``took`` seconds leaves a line: it took more than ``least`` besides what lines told within
        it, of this thread, or it has an ``amount`` to tell. ``before``: what had been told when it began."""
        if self._quiet or took <= least or (not amount and took - (self._times.told - before) <= least):
            return False
        self._times.told = before + took
        return True

    def note(self, message: str) -> None:
        if not self._quiet:
            from rich.markup import escape

            stderr().print(f"[dim]{escape(wrapped(nearer(message), room(stderr())))}[/]", soft_wrap=True)

    def warn(self, message: str) -> None:
        with self._lock:
            if message in self._warned:
                return
            self._warned.add(message)
        say(stderr(), "warning", message)


class TerminalReporter(_Said):
    """Live bars; they vanish when done, and what took a while leaves a line."""

    def __init__(self, quiet: bool) -> None:
        super().__init__(quiet)
        self._bars: Bars | None = None
        self._open = 0
        self._mutex = threading.Lock()

    def _start(self) -> Bars:
        with self._mutex:
            if self._bars is None:
                from .bars import bars

                self._bars = bars()
                self._bars.start()
            self._open += 1
            return self._bars

    def _stop(self) -> None:
        with self._mutex:
            self._open -= 1
            if self._open == 0 and self._bars is not None:
                self._bars.stop()
                self._bars = None

    @contextmanager
    def work(self, title: str, total: int | None = None, *, unit: str = "items") -> Iterator[Progress]:
        from rich.markup import escape

        from .bars import Bar

        bars = self._start()
        started, before = time.monotonic(), self._times.told
        task = bars.add_task(escape(title), total=total, unit=unit)
        try:
            yield Bar(bars, task)
            done = bars.tasks[bars.task_ids.index(task)].completed
        finally:
            bars.remove_task(task)
            self._stop()
        took, amount = time.monotonic() - started, f" {size(int(done))}" if unit == "bytes" and done else ""
        if self._worth(took, before, 0.5, amount):
            stderr().print(f"[green]✓[/] {escape(title)}[dim]{amount} in {duration(took)}[/]")


class _Count:
    """Progress that only adds up, for the lines that say how far it is."""

    def __init__(self, whole: int | None = None) -> None:
        self.done = 0
        self.whole = whole
        self._lock = threading.Lock()

    def advance(self, amount: int = 1) -> None:
        with self._lock:
            self.done += amount

    def total(self, total: int) -> None:
        self.whole = total

    def so_far(self, unit: str) -> str:
        if not self.done:
            return ""
        told = size if unit == "bytes" else str
        return f": {told(self.done)} of {told(self.whole)}" if self.whole else f": {told(self.done)}"


class PlainReporter(_Said):
    """For logs and pipes: no bars, no control codes. What takes long says that it goes on, and how far it is."""

    @contextmanager
    def work(self, title: str, total: int | None = None, *, unit: str = "items") -> Iterator[Progress]:
        count, started, over = _Count(total), time.monotonic(), threading.Event()
        before = self._times.told

        def still() -> None:
            wait = _FIRST
            while not over.wait(wait):
                wait = _NEXT
                stderr().print(f"{title}{count.so_far(unit)} …", markup=False, soft_wrap=True)

        if not self._quiet:
            threading.Thread(target=still, name="still", daemon=True).start()
        try:
            yield count
        finally:
            over.set()
        took, amount = time.monotonic() - started, f" {size(count.done)}" if unit == "bytes" and count.done else ""
        if self._worth(took, before, 0.2, amount):
            stderr().print(f"{title}{amount} in {duration(took)}", markup=False, soft_wrap=True)


class _Told(_Said):
    """Where everything is told as it happens, and bars would be drawn over it: when each piece of work begins, too."""

    @contextmanager
    def work(self, title: str, total: int | None = None, *, unit: str = "items") -> Iterator[Progress]:
        count = _Count()
        with tracing.timed("work", title):
            yield count


def make_reporter(quiet: bool = False) -> Reporter:
    """Bars where standard error can be drawn over, lines elsewhere; ``quiet`` keeps warnings only."""
    if tracing.active():
        return _Told(quiet)
    if interactive(stderr()) and not quiet:
        return TerminalReporter(quiet)
    return PlainReporter(quiet)
