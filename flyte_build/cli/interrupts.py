"""Ctrl-C is answered within half a second, whatever a thread waits for.

Python's own interrupt comes first, and all that is on the way out ends what it began. Where that takes longer than a
moment (a thread that waits for a server which says nothing), the process leaves as one that is killed does: whatever is
written is whole or not there, and what it left is swept by the next. A command with something of its own to end, as
a run's tasks are, is waited for, and says so (``kernel.patience``), until somebody interrupts once more.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from ..kernel.patience import ending

__all__ = ["answered", "leave", "say_interrupted", "was_answered", "was_said", "watch"]

EXIT_CODE = 130
_MOMENT = 0.35

_said = threading.Lock()
_answered = threading.Event()


def watch() -> None:
    """From here on, interrupts of this process are watched; calls after the first do nothing.

    By a descriptor that Python's C code writes to at once, so that a main thread which is busy elsewhere is none of its
    concern, and the handler (Python's, asyncio's, a command's) stays whose it is.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) in (
        signal.SIG_IGN,
        signal.SIG_DFL,
        None,
    ):
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    if before != -1:  # somebody's already: this process is watched, or is none of ours
        signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        os.close(reading)
        os.close(writing)
        return
    threading.Thread(target=_listen, args=(reading,), name="interrupts", daemon=True).start()


def _listen(reading: int) -> None:
    told: str | None = None
    while got := os.read(reading, 64):
        if signal.SIGINT not in got:
            continue
        threading.Event().wait(_MOMENT)
        what = ending()
        if what is None or what == told:
            leave()
        # A wrapper hands on what the terminal sends to all: twice within this moment is once.
        os.set_blocking(reading, False)
        with suppress(BlockingIOError):
            os.read(reading, 4096)
        os.set_blocking(reading, True)
        told = what
        if what:
            _tell(f"interrupted: {what}; once more leaves at once")


def leave(code: int = EXIT_CODE) -> NoReturn:
    """The process ends here, as interrupted unless another ``code`` says how, and is not taken apart."""
    if code == EXIT_CODE:
        say_interrupted()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def answered() -> None:
    """An interrupt was what a command waited for: it ends well, and nobody waits for the interpreter's own end."""
    _answered.set()


def was_answered() -> bool:
    """Whether a command ended because it was told to."""
    return _answered.is_set()


def was_said() -> bool:
    """Whether it was this process that was interrupted: a command's own exit code may be the same number."""
    return _said.locked()


def say_interrupted() -> None:
    """Tell that this was it, once."""
    if _said.acquire(blocking=False):
        _tell("interrupted")


def _tell(words: str) -> None:
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    # Nobody ends what was drawn any more, so the cursor is given back here.
    before = b"\x1b[?25h\r\x1b[K" if os.isatty(2) else b""
    with suppress(OSError):
        os.write(2, before + words.encode() + b"\n")
