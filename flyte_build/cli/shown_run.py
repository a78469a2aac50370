"""One run for `flyte-build runs show`: its facts, its tree, and a row for each attempt. Reads what it is given."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from ..submit.action import Phase
from .console import counted, duration, room, stdout
from .live import action_tree
from .tables import Column, print_table

if TYPE_CHECKING:
    from ..submit.history import Run
    from ..submit.journal import ActionRecord

__all__ = ["print_run", "run_json"]

# Columns where nobody counts them.
_WHOLE = 100_000
_COLOURS = {Phase.SUCCEEDED: "green", Phase.RUNNING: "cyan", Phase.ABORTED: "yellow", Phase.PAUSED: "yellow"}


def run_json(run: Run) -> dict[str, Any]:
    """The run, with all that is known of its actions."""
    return {
        "schema": 1,
        "name": run.name,
        "task": run.task,
        "phase": run.phase.value if run.phase else "killed",
        "started": run.started,
        "ended": run.ended,
        "resumed": run.facts.get("resume") or None,
        "folder": str(run.folder),
        "actions": [_action_json(action, run) for action in run.actions],
    }


def _action_json(action: ActionRecord, run: Run) -> dict[str, Any]:
    """As in the journal, with what is left out there because it says nothing."""
    told = {"short_name": "", "queue": "", "interruptible": False, "attempts": [], **action.to_json()}
    doc = run.docs.get(action.task, "")
    return told | {"doc": doc, "duration": _between(action.started, action.ended)}


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def print_run(run: Run) -> None:
    """On standard output: what was run and how it ended, the tree, and the attempts."""
    out = stdout()
    started = datetime.fromtimestamp(run.started, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    facts = [run.phase.value if run.phase else "killed", f"started {started}"]
    if run.ended:
        facts.append(f"took {duration(run.ended - run.started)}")
    facts.append(counted(len(run.actions), "action"))
    if run.facts.get("resume"):
        facts.append(f"resumes {run.facts['resume']}")
    out.print(f"[bold]{escape(run.name)}[/] {escape(run.task)}  {escape(', '.join(map(str, facts)))}", soft_wrap=True)
    tree = action_tree(run.actions, run.task or run.name, docs=run.docs)
    out.print(tree, width=room(out) or _WHOLE, crop=False)
    rows = [row for action in run.actions for row in _rows(action)]
    if rows:
        out.print()
        columns = (
            Column("action", shorten=lambda cell: cell[:10]),
            Column("task"),
            Column("queue", drop=3),
            Column("attempt", right=True),
            Column("state"),
            Column("started", drop=2),
            Column("took", right=True),
        )
        print_table(out, columns, [row for row, _ in rows], notes=[note for _, note in rows])
    sys.stdout.flush()


def _rows(action: ActionRecord) -> list[tuple[list[str], str]]:
    """A row for each attempt, with the error that ended it as a note; none for what had no attempt of its own."""
    found = [(a.number, a.phase, a.started, a.ended, a.error) for a in action.attempts]
    if action.started is not None and not action.phase.terminal and action.kind == "task":
        found.append((action.attempt, action.phase, action.started, None, ""))  # type: ignore[arg-type]
    name = action.short_name or action.task
    return [
        (
            [
                action.name, escape(name), escape(action.queue), str(number),
                f"[{_COLOURS.get(phase, 'red')}]{phase}[/]",
                datetime.fromtimestamp(started, UTC).astimezone().strftime("%H:%M:%S"),
                duration(ended - started) if ended is not None else "–",
            ],
            error,
        )
        for number, phase, started, ended, error in found
    ]  # fmt: skip
