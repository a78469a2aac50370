"""Our side of a visit's streams: a terminal of its own, or three pipes, and what carries bytes to and from them.

The sandbox has the other ends only. A program that holds somebody's own terminal can read what is typed there, and one
that holds somebody's own file can open it again in another way; so neither goes in. Never reads what is carried.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

__all__ = ["Streams"]

_CHUNK = 1 << 16
Sink = Callable[[int, bytes], object]
"""Takes what came out by 1 (standard output) or 2 (standard error); called in a thread of each."""


class Streams:
    """``terminal``: one that is as large as ``size`` (rows, columns) says; else pipes. ``source`` is read from, if
    there is anything to be read; ``sink`` is told what the command wrote."""

    def __init__(self, source: int | None, sink: Sink, *, size: Callable[[], tuple[int, int]] | None = None) -> None:
        self.terminal = size is not None
        self._size, self._source, self._sink = size, source, sink
        self._ours: dict[int, int] = {}
        self._threads: list[threading.Thread] = []
        self._woken, self._wake = os.pipe()
        self.theirs: tuple[int, int, int] = self._opened()

    def _opened(self) -> tuple[int, int, int]:
        if self.terminal:
            ours, theirs = os.openpty()
            self._ours = {0: ours, 1: ours}
            self.resize()
            return theirs, theirs, theirs
        (given, give), (out, outs), (err, errs) = os.pipe(), os.pipe(), os.pipe()
        self._ours = {0: give, 1: out, 2: err}
        return given, outs, errs

    def own(self, owner: int) -> None:
        """The other ends are of whoever runs inside, so that ``/dev/stdout`` can be opened there."""
        for stream in set(self.theirs):
            os.fchown(stream, owner, owner)

    def resize(self) -> None:
        """The terminal is as large as the one that it is shown on."""
        if self._size is not None:
            fcntl.ioctl(self._ours[1], termios.TIOCSWINSZ, struct.pack("HHHH", *self._size(), 0, 0))

    def carry(self) -> None:
        """Begin, once the sandbox has its ends: ours of these are closed, so that the last one ends a stream."""
        for stream in set(self.theirs):
            os.close(stream)
        self.theirs = (-1, -1, -1)
        for number in (1, 2):
            if number in self._ours:
                self._start(partial(self._out, number))
        self._start(self._in)

    def tell(self, words: bytes) -> None:
        """What was said before the command had its streams: why it never began."""
        self._sink(2, words.replace(b"\n", b"\r\n") if self.terminal else words)

    def close(self) -> None:
        """Nothing of the sandbox's lives: what it wrote last is handed on, then nothing is carried any more."""
        os.write(self._wake, b"!")
        for thread in self._threads:
            thread.join()
        for stream in {*self._ours.values(), *(s for s in self.theirs if s >= 0), self._wake, self._woken}:
            with suppress(OSError):
                os.close(stream)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="flyte-build streams", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _out(self, number: int) -> None:
        taken = True
        while True:
            try:
                data = os.read(self._ours[number], _CHUNK)
            except OSError as e:
                # What a terminal says once nobody has its other end.
                if e.errno != errno.EIO:
                    raise
                return
            if not data:
                return
            if taken:
                try:
                    self._sink(number, data)
                except OSError:
                    taken = False  # nobody reads our output; the command goes on, as its reader may

    def _in(self) -> None:
        target = self._ours[0]
        with suppress(OSError):
            while self._source is not None:
                ready, _, _ = select.select([self._source, self._woken], [], [])
                if self._woken in ready:
                    return
                data = os.read(self._source, _CHUNK)
                if not data:
                    break
                while data:
                    data = data[os.write(target, data) :]
        if not self.terminal:
            self._ours.pop(0)
            os.close(target)
