"""One line of a check-up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ...kernel.errors import FlyteBuildError

__all__ = ["Line", "bad", "good", "note", "of_error", "worst"]


@dataclass(frozen=True, slots=True)
class Line:
    """``name`` was looked at and ``said`` is what was found; ``way_out``: what to do. ``code``: the exit code that
    commands would end with for it, where it is bad."""

    area: str
    name: str
    state: Literal["good", "note", "bad"]
    said: str
    way_out: str | None = None
    code: int = 0


def good(area: str, name: str, said: str) -> Line:
    return Line(area, name, "good", said)


def note(area: str, name: str, said: str, way_out: str | None = None) -> Line:
    """Something that works and is worth a word, or that not everybody needs."""
    return Line(area, name, "note", said, way_out)


def bad(area: str, name: str, said: str, way_out: str | None, code: int) -> Line:
    return Line(area, name, "bad", said, way_out, code)


def of_error(area: str, name: str, error: FlyteBuildError) -> Line:
    """The line that an error of ours is."""
    return bad(area, name, error.message, error.hint, error.exit_code)


def worst(lines: Iterable[Line]) -> int:
    """The exit code: that of the first line that is bad, 0 where none is."""
    return next((line.code for line in lines if line.state == "bad"), 0)
