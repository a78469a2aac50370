"""The two consoles, and how things are spelled on them. Results go to standard output, all else to standard error."""

from __future__ import annotations

import os
import textwrap
from functools import cache

from rich.console import Console

from ..kernel.quantities import counted, duration, size

__all__ = ["counted", "duration", "interactive", "room", "size", "stderr", "stdout", "wrapped"]


def stdout() -> Console:
    return _console(False, _environment())


def stderr() -> Console:
    return _console(True, _environment())


def _environment() -> tuple[str | None, ...]:
    """What a console reads when it is made."""
    return tuple(os.environ.get(name) for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS", "TERM"))


@cache
def _console(to_stderr: bool, _: tuple[str | None, ...]) -> Console:
    return Console(stderr=to_stderr, highlight=False, emoji=False)


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
