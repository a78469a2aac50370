"""Threads that tests left behind and that still work: each takes a core from all others, and nobody sees it."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

# Seconds of processor time in one file's tests.
MOST = 1.0
# One for all of a process, whose work is its callers'.
SHARED = ("flyte_syncify",)


def times() -> dict[int, float]:
    """Processor time (s) of every thread but this one, by its number (proc_pid_stat(5))."""
    found = {}
    for thread in threading.enumerate():
        if thread is threading.current_thread() or thread.name in SHARED or thread.native_id is None:
            continue
        with suppress(OSError):
            stat = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rpartition(")")[2].split()
            found[thread.native_id] = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    return found


def gone_on(before: dict[int, float]) -> list[str]:
    """The threads of ``before`` that took more than ``MOST`` since then."""
    now = times()
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    busy = [number for number, was in before.items() if now.get(number, 0.0) - was > MOST]
    return [names.get(number, str(number)) for number in busy]
