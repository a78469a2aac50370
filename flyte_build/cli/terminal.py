"""The terminal that somebody sits at, while a command in a sandbox has it: raw, as large as it is, and put back."""

from __future__ import annotations

import codecs
import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from ..kernel.visible import coloured, inert
from .streams import obeyed

__all__ = ["Shown", "at_terminal", "raw", "size", "source"]

_MOST = 16 << 20


def at_terminal() -> bool:
    """Whether somebody types here and sees what comes of it."""
    return source() is not None and os.isatty(0) and os.isatty(1)


def source() -> int | None:
    """Standard input, where there is one."""
    try:
        os.fstat(0)
    except OSError:
        return None
    return 0


def size() -> tuple[int, int]:
    """Rows and columns."""
    try:
        columns, rows = os.get_terminal_size(1)
    except OSError:
        return 24, 80
    return rows or 24, columns or 80


@contextmanager
def raw(resized: Callable[[], object]) -> Iterator[None]:
    """Every key goes to the command, Ctrl-C, too; ``resized`` is called when the terminal is."""

    def changed(_number: int, _frame: FrameType | None) -> None:
        with suppress(OSError, KeyError):
            resized()

    before = termios.tcgetattr(0)
    handler = signal.signal(signal.SIGWINCH, changed)
    tty.setraw(0, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSANOW, before)
        signal.signal(signal.SIGWINCH, handler)


class Shown:
    """What a command wrote, on our own outputs: to a person without what a terminal would obey beyond colours (unless
    it has the terminal for itself), to a CI's runner without commands, byte for byte to anybody else. ``keep``: nowhere
    but in ``kept``, of each the last 16 MiB."""

    def __init__(self, *, own_terminal: bool, keep: bool = False) -> None:
        self._lock = threading.Lock()
        self._plain = own_terminal
        self._keep = keep
        self.kept: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        decoder = codecs.getincrementaldecoder("utf-8")
        self._text = {1: decoder("replace"), 2: decoder("replace")}
        self._line = {1: "", 2: ""}

    def __call__(self, number: int, data: bytes) -> None:
        with self._lock:
            if self._keep:
                self.kept[number] += data
                del self.kept[number][:-_MOST]
            elif self._plain or not (obeyed() or os.isatty(number)):
                _write(number, data)
            elif obeyed():
                # By whole lines: a command could lie across two pieces.
                whole, end, rest = (self._line[number] + self._text[number].decode(data)).rpartition("\n")
                self._line[number] = rest
                _write(number, inert(whole + end).encode())
            else:
                _write(number, coloured(self._text[number].decode(data)).encode())

    def end(self) -> None:
        """A last line without an end."""
        for number, rest in self._line.items():
            if rest:
                _write(number, inert(rest).encode())


def _write(number: int, data: bytes) -> None:
    (sys.stdout if number == 1 else sys.stderr).flush()
    view = memoryview(data)
    while view:
        view = view[os.write(number, view) :]
