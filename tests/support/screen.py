"""A terminal, and what a person sees on it after all that a program drew over: lines, cursor, and what was broken."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyte

__all__ = ["Seen", "on_terminal", "seen"]

_ROWS = 60


@dataclass(frozen=True)
class Seen:
    """``lines`` from the first on, without blanks at their ends; ``wrapped``: those that were wider than the terminal;
    ``cursor``: it is shown, and stands at the start of a line; ``raw``: the bytes."""

    lines: tuple[str, ...]
    wrapped: tuple[str, ...]
    cursor: bool
    raw: bytes

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def colours(self) -> bool:
        """Whether any text has one; weight is none."""
        return re.search(rb"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38)[;m]", self.raw) is not None


class _Screen(pyte.HistoryScreen):  # type: ignore[misc]
    """Notes what the terminal itself has to break."""

    def __init__(self, columns: int) -> None:
        self.broken: list[str] = []
        super().__init__(columns, _ROWS, history=10_000, ratio=0.001)

    def draw(self, data: str) -> None:
        for char in data:
            if self.cursor.x == self.columns:
                self.broken.append(self.display[self.cursor.y].rstrip())
            super().draw(char)


def seen(raw: bytes, columns: int) -> Seen:
    """What ``raw`` comes to on a terminal of so many columns."""
    screen = _Screen(columns)
    pyte.ByteStream(screen).feed(raw)
    above = ("".join(line[x].data for x in range(columns)).rstrip() for line in screen.history.top)
    lines = [*above, *(line.rstrip() for line in screen.display)]
    while lines and not lines[-1]:
        lines.pop()
    whole = not screen.cursor.hidden and screen.cursor.x == 0
    return Seen(tuple(lines), tuple(screen.broken), whole, raw)


def on_terminal(command: Sequence[str], columns: int, environment: Mapping[str, str], cwd: Path) -> bytes:
    """What the command writes to a terminal of its own, ``columns`` wide; it has to succeed."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
    child = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=dict(environment), cwd=cwd, start_new_session=True
    )
    os.close(slave)
    said = b""
    try:
        while chunk := os.read(master, 65536):
            said += chunk
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(master)
    code = child.wait()
    assert code == 0, said.decode(errors="replace")
    return said
