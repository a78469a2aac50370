"""A command in a child of this process, which has everything imported already, and an interrupt at a chosen moment."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Child", "Left", "command", "forked"]

_PATIENCE = 40.0
"""Seconds after which nobody would still be waiting; those who would not have left wait for a minute and more."""


@dataclass(frozen=True)
class Left:
    """How it ended: the exit code, what it wrote, and how many seconds after the interrupt."""

    code: int
    said: str
    seconds: float


@dataclass(frozen=True)
class Child:
    """``said`` is the file that both outputs go to."""

    pid: int
    said: Path

    def interrupt(self) -> Left:
        os.kill(self.pid, signal.SIGINT)
        return self.left()

    def left(self) -> Left:
        """Wait for its end; one that does not come is an error."""
        began = time.monotonic()
        handle = os.pidfd_open(self.pid)
        try:
            gone = bool(select.select([handle], [], [], _PATIENCE)[0])
        finally:
            os.close(handle)
        if not gone:
            os.kill(self.pid, signal.SIGKILL)
        status = os.waitpid(self.pid, 0)[1]
        said = self.said.read_text()
        assert gone, f"it went on waiting\n{said}"
        return Left(os.waitstatus_to_exitcode(status), said, time.monotonic() - began)


def forked(work: Callable[[], int], said: Path) -> Child:
    """``work`` in a child, which ends with the code that it gives, as an interpreter ends: after its threads."""
    with warnings.catch_warnings():
        # The other threads are servers, which the child has nothing of.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return Child(pid, said)
    code = 99
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(out, number)
            setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115
        code = work()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        threading._shutdown()  # type: ignore[attr-defined]
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def command(words: Sequence[str], said: Path) -> Child:
    """``flyte-build`` with ``words``, as the console script runs it."""

    def work() -> int:
        from flyte_build.cli import entry

        sys.argv = ["flyte-build", *words]
        try:
            entry()
        except SystemExit as e:
            return int(e.code or 0)
        return 98

    return forked(work, said)
