"""``runs``, ``runs show`` and ``logs`` of a target whose storage is not reached: what the cluster alone tells, and a
line on why the rest is missing."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from ..kernel.visible import visible
from .console import duration, echo, show_log, stderr, stdout
from .errors import say
from .tables import Column, print_table

if TYPE_CHECKING:
    from ..workbench.at_sight import SeenRun, Unreachable

__all__ = ["print_logs_at_sight", "print_run_at_sight", "print_runs_at_sight", "say_at_sight"]

_COLOURS = {"running": "cyan", "ended": "dim"}


def print_runs_at_sight(on: str, why: Unreachable, limit: int, as_json: bool) -> None:
    """The runs of which the cluster has anything."""
    from ..workbench.at_sight import runs_at_sight

    found = runs_at_sight(on, why)[:limit]
    if as_json:
        echo(json.dumps(_document(on, why, runs=[_run_json(run) for run in found]), indent=2, ensure_ascii=False))
        return
    say_at_sight(on, why)
    if not found:
        echo(f"the cluster of {on} has no runs")
        return
    columns = (
        Column("run"),
        Column("task"),
        Column("state"),
        Column("started", drop=2),
        Column("attempts", right=True),
    )
    rows = [
        (escape(r.name), escape(r.task) or "–", _state("running" if r.going else "ended"), _when(r.started),
         str(len(r.attempts)))
        for r in found
    ]  # fmt: skip
    print_table(stdout(), columns, rows)


def print_run_at_sight(on: str, name: str, why: Unreachable, as_json: bool) -> None:
    """One run: its attempts, and how they look."""
    from ..workbench.at_sight import run_at_sight

    run = run_at_sight(on, name, why)
    if as_json:
        echo(json.dumps(_document(on, why, **_run_json(run)), indent=2, ensure_ascii=False))
        return
    say_at_sight(on, why)
    state = "running" if run.going else "ended"
    stdout().print(
        f"[bold]{escape(run.name)}[/] {escape(run.task)}  {state}, started {_when(run.started)}", soft_wrap=True
    )
    columns = (
        Column("action", shorten=lambda cell: cell[:10]), Column("task"), Column("attempt", right=True),
        Column("state"), Column("started", drop=1), Column("took", right=True),
    )  # fmt: skip
    rows, notes = [], []
    for a in run.attempts:
        took = duration(a.ended - a.started) if a.started is not None and a.ended is not None else "–"
        when = _when(a.started)[11:] if a.started is not None else "–"
        rows.append((escape(a.action), escape(a.task), str(a.attempt), _state(a.stage), when, took))
        notes.append(a.line if a.line != a.stage else "")
    print_table(stdout(), columns, rows, notes=notes)


def print_logs_at_sight(on: str, name: str | None, action: str | None, why: Unreachable) -> None:
    """What pods have printed that are there."""
    from ..workbench.at_sight import logs_at_sight, run_at_sight

    run = run_at_sight(on, name, why)
    several = logs_at_sight(on, run, action)
    say_at_sight(on, why)
    for attempt, data in several:
        if len(several) > 1:
            title = f"── {attempt.task or attempt.action} ({attempt.action}, attempt {attempt.attempt}) ──"
            click.secho(visible(title), bold=True)
        show_log(io.BytesIO(data))


def say_at_sight(on: str, why: Unreachable) -> None:
    """Where what is shown is from, and what is not there."""
    say(
        stderr(), "warning",
        f"the storage of {on} is not reached from here: {why.message}\n"
        "This is what the cluster tells: without who called whom, values, reports, how tasks ended and what is over",
    )  # fmt: skip


def _document(on: str, why: Unreachable, **facts: Any) -> dict[str, Any]:
    return {"schema": 1, "from": "cluster", "target": on, "storage_error": why.message, **facts}


def _run_json(run: SeenRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "task": run.task,
        "going": run.going,
        "started": run.started,
        "attempts": [asdict(attempt) for attempt in run.attempts],
    }


def _state(stage: str) -> str:
    return f"[{_COLOURS.get(stage, 'yellow')}]{stage}[/]"


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else "–"
