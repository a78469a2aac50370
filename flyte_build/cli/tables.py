"""Tables that fit: one line a row, whatever the terminal's width, and nothing cut where a program reads.

Where columns do not all fit, long cells get their short form first, then the least telling columns go. A note
that does not fit beside its row goes below it. Draws; knows nothing of what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from .console import room, wrapped

__all__ = ["Column", "digest_shown", "print_table", "short_digest", "show_whole"]

_GAP = 2
# A note gets this much of a line before columns give way to it.
_NOTE = 24
# Columns that go before others' cells are cut short.
_FILLER = 5
# Whether nothing is cut, however little room there is (``--full``).
_whole = False


@dataclass(frozen=True, slots=True)
class Column:
    """``drop``: 0 stays; of the others the highest goes first where there is no room, from 5 on before any cell is
    cut short. ``shorten`` makes a cell's short form."""

    title: str
    right: bool = False
    drop: int = 0
    shorten: Callable[[str], str] | None = None


def show_whole(wanted: bool) -> None:
    """From here on tables have all their columns and whole cells, or what fits."""
    global _whole
    _whole = wanted


def short_digest(digest: str) -> str:
    """``sha256:0123456789ab``: enough to tell digests apart."""
    return digest[:19]


def digest_shown(digest: str) -> str:
    """Short, where nobody asked for whole ones."""
    return digest if _whole else short_digest(digest)


def print_table(
    out: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    notes: Sequence[str] = (),
    note_title: str = "",
) -> None:
    """Print ``rows`` of rich markup below their titles. ``notes``: plain text, one a row, shown last."""
    width = None if _whole else room(out)
    wanted = min(_NOTE, max(map(len, notes), default=0))
    shown = _fitting(columns, rows, None if width is None else width - (wanted + _GAP if wanted else 0))
    cells = [[_cell(columns[i], row[i], short) for i, short in shown] for row in rows]
    titles = [Text(columns[i].title, style="dim") for i, _ in shown]
    widths = [max(t.cell_len for t in column) for column in zip(titles, *cells, strict=True)]
    rights = [columns[i].right for i, _ in shown]
    left = sum(widths) + _GAP * len(widths)
    beside = width is None or left + wanted <= width
    _line(out, [*titles, *([Text(note_title, style="dim")] if wanted and beside else [])], widths, rights)
    for number, row in enumerate(cells):
        note = notes[number] if notes else ""
        inline = bool(note) and (width is None or left + len(note) <= width)
        _line(out, [*row, *([Text(note)] if inline else [])], widths, rights)
        if note and not inline:
            text = wrapped(note, width, 2)
            out.print(f"  [dim]{escape(text)}[/]", soft_wrap=True)


def _fitting(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[tuple[int, bool]]:
    """The columns to show, by their number, each with whether its cells are shortened."""
    shown = [(i, False) for i in range(len(columns))]
    drops = sorted({c.drop for c in columns if c.drop}, reverse=True)
    steps: list[int | None] = [*(d for d in drops if d >= _FILLER), None, *(d for d in drops if d < _FILLER)]
    for step in steps:
        if width is None or _width(columns, rows, shown) <= width:
            break
        if step is None:
            shown = [(i, columns[i].shorten is not None) for i, _ in shown]
        else:
            shown = [(i, short) for i, short in shown if columns[i].drop != step]
    return shown


def _width(columns: Sequence[Column], rows: Sequence[Sequence[str]], shown: Sequence[tuple[int, bool]]) -> int:
    widest = (
        max([len(columns[i].title), *(_cell(columns[i], row[i], short).cell_len for row in rows)]) for i, short in shown
    )
    return sum(widest) + _GAP * (len(shown) - 1)


def _cell(column: Column, cell: str, short: bool) -> Text:
    return Text.from_markup(column.shorten(cell) if short and column.shorten else cell)


def _line(out: Console, cells: Sequence[Text], widths: Sequence[int], rights: Sequence[bool]) -> None:
    line = Text()
    for cell, width, right in zip(cells, widths, rights, strict=False):
        space = " " * (width - cell.cell_len)
        line += Text(space) + cell if right else cell + Text(space)
        line += Text(" " * _GAP)
    for cell in cells[len(widths) :]:
        line += cell
    line.rstrip()
    out.print(line, soft_wrap=True)
