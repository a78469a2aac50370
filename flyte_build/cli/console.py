"""The two consoles, and how things are spelled on them. Results go to standard output, all else to standard error."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable
from functools import cache
from typing import BinaryIO

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ..kernel.quantities import counted, duration, size
from ..kernel.struck import struck
from ..kernel.visible import coloured, inert, visible
from .streams import obeyed

__all__ = [
    "counted",
    "duration",
    "echo",
    "interactive",
    "room",
    "show_log",
    "size",
    "stderr",
    "stdout",
    "wrapped",
]


class _Quiet(Console):
    """A console on which only we write: what a text holds that a terminal would obey is written out."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else visible(struck(segment.text))
            yield segment if text == segment.text else Segment(text, segment.style)


def echo(text: str, *, nl: bool = True) -> None:
    """Print a text as it is, as scripts read it; what no terminal shall obey is written out, as JSON has it."""
    click.echo(visible(struck(text)), nl=nl)


def show_log(source: BinaryIO) -> None:
    """Copy what a program of the user's printed: as it is, but to a terminal or a CI without what they would obey."""
    out = sys.stdout
    out.flush()
    if obeyed():
        while line := source.readline(1 << 16):
            # A longer line is broken, as a command could lie across the pieces.
            line += b"" if line.endswith(b"\n") else b"\n"
            out.buffer.write(inert(line.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape"))
        out.buffer.flush()
        return
    if not out.isatty():
        shutil.copyfileobj(source, out.buffer)
        out.buffer.flush()
        return
    while line := source.readline(1 << 16):
        out.buffer.write(coloured(line.decode("utf-8", "replace")).encode())
    out.buffer.write(b"\x1b[0m")
    out.buffer.flush()


def stdout() -> Console:
    return _console(False, _environment())


def stderr() -> Console:
    return _console(True, _environment())


def _environment() -> tuple[str | None, ...]:
    """What a console reads when it is made."""
    return tuple(os.environ.get(name) for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS", "TERM"))


@cache
def _console(to_stderr: bool, _: tuple[str | None, ...]) -> Console:
    return _Quiet(stderr=to_stderr, highlight=False, emoji=False)


def room(console: Console) -> int | None:
    """Columns there are; ``None`` where a file or a program reads, and lines may be as long as they are."""
    return console.width if console.is_terminal else None


def interactive(console: Console) -> bool:
    """Whether what was drawn can be drawn over: a real terminal, and not a dumb one, whatever colours are forced."""
    try:
        there = os.isatty(console.file.fileno())
    except (OSError, ValueError):
        return False
    return there and not console.is_dumb_terminal


def wrapped(text: str, width: int | None, indent: int = 0) -> str:
    """``text`` broken at spaces to fit ``width``, every line but the first behind ``indent`` spaces.

    A word is never broken: a path or a command that is too long stays one thing to copy.
    """
    lines: list[str] = []
    for line in text.splitlines() or [""]:
        own = len(line) - len(line.lstrip())
        pieces = [line]
        if width is not None and len(line) + indent > width:
            pieces = textwrap.wrap(
                line,
                max(width - indent, 20),
                subsequent_indent=" " * (own + 2 if own else 0),
                break_long_words=False,
                break_on_hyphens=False,
                drop_whitespace=True,
            )
        lines += pieces or [""]
    return ("\n" + " " * indent).join(lines)
