"""What a step may take of this machine: memory, processes and time. No step takes the machine down.

A control group holds it, where this user may make one. Where not, each program is held to a number of processes
(setrlimit(2)), and where memory is short the kernel ends the step's programs before any other (:mod:`.entering`). The
limits are no part of what a step is: they decide whether it ends, not what it makes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from types import TracebackType

from ..kernel.cgroups import Cgroups, Group
from ..kernel.quantities import size

__all__ = ["Fence", "Limits"]

_numbers = count(1)
# Left to the machine: a sixteenth of its memory, or this.
_LEAST_LEFT = 256 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """``memory`` in bytes (``None``: what this machine has, less a reserve); ``seconds`` for each run;
    ``processes`` and threads at once."""

    memory: int | None = None
    seconds: float = 2 * 3600.0
    processes: int = max(4096, 256 * (os.cpu_count() or 1))

    @property
    def most_memory(self) -> int:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return self.memory if self.memory is not None else max(whole - max(whole // 16, _LEAST_LEFT), whole // 2)


class Fence:
    """The group of one step; a context manager. ``say`` hears of a limit that was asked for and cannot be kept."""

    def __init__(self, limits: Limits, say: Callable[[str], object]) -> None:
        self._limits, self._say = limits, say
        self._group: Group | None = None
        self._counts = False

    def __enter__(self) -> Fence:
        groups = Cgroups.detect()
        groups.sweep()
        name, limits = f"seal-{next(_numbers)}", self._limits
        with suppress(OSError):
            self._group = groups.create(name, memory=limits.most_memory, cpu=None, pids=limits.processes)
            self._counts = groups.pids is not None
        if limits.memory is not None and (self._group is None or groups.memory is None):
            self._say("`seal-memory` is not enforced here: this user may make no control group for memory")
        return self

    @property
    def processes(self) -> int | None:
        """What each program is to be held to by itself: nothing, where a group counts them."""
        return None if self._counts else self._limits.processes

    def join(self, pid: int) -> None:
        """Put the process ``pid``, which waits and has started nothing, into the group."""
        for file in self._group.join if self._group is not None else ():
            with suppress(OSError):
                file.write_text(str(pid))

    def met(self) -> tuple[str, str] | None:
        """What a step that failed failed of, if that was a limit, and the way out."""
        if self._group is not None and self._group.oom_kills():
            return (
                f"it may have {size(self._limits.most_memory)} of memory and wanted more: the kernel ended it",
                "`seal-memory` of [tool.flyte-build] says how much a step may have",
            )
        if self._group is not None and self._group.refused_forks():
            return (
                f"it may have {self._limits.processes:,} processes and threads at once, and wanted more",
                "let it start fewer (`make -j 8`)",
            )
        return None

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._group is not None:
            self._group.remove()
