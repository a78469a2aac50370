"""Bars on a terminal, as the reporter draws them: imported when there is something to draw."""

from __future__ import annotations

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from .console import size, stderr

__all__ = ["Bar", "bars"]

# Columns that `123.4/567.8 MB`, and `12.3 MB/s` with the time that is left, take.
_AMOUNT, _SPEED_AND_TIME = 14, 17


class _Amount(ProgressColumn):
    """Bytes or items done, as the work was opened."""

    def __init__(self, table_column: Column) -> None:
        super().__init__(table_column)
        self.bytes, self.items = DownloadColumn(), MofNCompleteColumn()

    def render(self, task: Task) -> Text:
        if task.total is None:
            done = int(task.completed)
            return Text((size(done) if task.fields.get("unit") == "bytes" else str(done)) if done else "")
        return self.bytes.render(task) if task.fields.get("unit") == "bytes" else self.items.render(task)


class _Speed(ProgressColumn):
    def __init__(self, table_column: Column) -> None:
        super().__init__(table_column)
        self.speed = TransferSpeedColumn()

    def render(self, task: Task) -> Text:
        return self.speed.render(task) if task.fields.get("unit") == "bytes" else Text("")


def _columns(width: int) -> list[ProgressColumn]:
    """What of a piece of work is shown on a terminal of ``width``; a long title gives way, numbers never."""
    roomy = width >= 70
    bar = 30 if width >= 100 else 12
    taken = 1 + bar + _AMOUNT + (_SPEED_AND_TIME if roomy else 0) + 4
    title = Column(no_wrap=True, overflow="ellipsis", max_width=max(width - taken, 10))
    columns: list[ProgressColumn] = [
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=title),
        BarColumn(bar_width=bar),
        _Amount(Column(no_wrap=True)),
    ]
    return [*columns, _Speed(Column(no_wrap=True)), TimeRemainingColumn(compact=True)] if roomy else columns


class Bar:
    """One piece of work among them."""

    def __init__(self, bars: Bars, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def advance(self, amount: int = 1) -> None:
        self._bars.advance(self._task, amount)

    def total(self, total: int) -> None:
        self._bars.update(self._task, total=total)


def bars() -> Bars:
    """None yet, on standard error; they vanish when they end."""
    return Bars(*_columns(stderr().width), console=stderr(), transient=True)
