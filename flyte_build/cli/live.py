"""A run as people see it: the tree of its actions, live on a terminal, a line a change elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from rich.live import Live
from rich.markup import escape
from rich.tree import Tree

from ..submit.action import Phase
from ..submit.journal import ActionRecord
from .console import duration, stderr

__all__ = ["RunView", "action_tree"]

# Of more siblings than this (a `flyte.map` over thousands), only the ones worth a look are listed.
_MANY = 12

_MARKS = {
    Phase.QUEUED: "[dim]·[/]",
    Phase.RUNNING: "[cyan]▶[/]",
    Phase.PAUSED: "[yellow]‖[/]",
    Phase.SUCCEEDED: "[green]✓[/]",
    Phase.FAILED: "[red]✗[/]",
    Phase.ABORTED: "[yellow]■[/]",
    Phase.TIMED_OUT: "[red]⧖[/]",
}


def action_tree(records: Iterable[ActionRecord], title: str) -> Tree:
    """The actions of a run under their parents, groups as nodes of their own, in the order they were queued."""
    children: dict[str, list[ActionRecord]] = {}
    for record in sorted(records, key=lambda r: (r.queued, r.name)):
        children.setdefault(record.parent, []).append(record)
    tree = Tree(f"[bold]{escape(title)}[/]", guide_style="dim")
    pending = [("", tree)]
    while pending:
        parent, node = pending.pop()
        groups: dict[str, Tree] = {}
        members: dict[str, list[ActionRecord]] = {}
        for record in children.get(parent, []):
            members.setdefault(record.group, []).append(record)
        for group, records_of in members.items():
            if group and group not in groups:
                groups[group] = node.add(f"[dim]group[/] {escape(group)}")
            place = groups.get(group, node)
            shown, hidden = _worth_showing(records_of)
            pending.extend((r.name, place.add(_label(r))) for r in shown)
            if hidden:
                place.add(f"[dim]… {_counts(hidden)}[/]")
    return tree


def _worth_showing(records: list[ActionRecord]) -> tuple[list[ActionRecord], list[ActionRecord]]:
    if len(records) <= _MANY:
        return records, []
    telling = [r for r in records if r.phase in (Phase.RUNNING, Phase.FAILED, Phase.TIMED_OUT)][:_MANY]
    chosen = telling or records[:3]
    names = {r.name for r in chosen}
    return chosen, [r for r in records if r.name not in names]


def _counts(records: list[ActionRecord]) -> str:
    tally: dict[str, int] = {}
    for record in records:
        tally[record.phase.value] = tally.get(record.phase.value, 0) + 1
    return ", ".join(f"{count} {phase}" for phase, count in tally.items())


def _label(record: ActionRecord) -> str:
    name = escape(record.task.removeprefix(f"{record.environment}.") or record.name)
    words = [_MARKS[record.phase], f"[bold]{name}[/]" if record.phase is Phase.RUNNING else name]
    if record.environment:
        words.append(f"[dim]{escape(record.environment)}[/]")
    if record.kind != "task":
        words.append(f"[dim]{record.kind}[/]")
    if record.source:
        words.append({"cache": "[cyan]cached[/]", "resume": "[cyan]reused[/]"}.get(record.source, record.source))
    elif record.started is not None:
        words.append(f"[dim]{duration((record.ended or time.time()) - record.started)}[/]")
    if record.attempt > 1:
        words.append(f"[yellow]attempt {record.attempt}[/]")
    if record.error is not None and record.phase.terminal:
        first = (record.error.message.strip().splitlines() or [""])[-1]
        words.append(f"[red]{escape(record.error.code)}[/]{': ' + escape(first[:100]) if first else ''}")
    return " ".join(words)


class RunView:
    """The observer of a run (:class:`flyte_build.submit.observer.Observer`), drawn on standard error."""

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self._title = title
        self._quiet = quiet
        self._records: dict[str, ActionRecord] = {}
        self._seen: dict[str, tuple[Phase, int]] = {}
        self._live: Live | None = None
        self._lock = threading.Lock()

    def on_action(self, record: ActionRecord) -> None:
        with self._lock:
            self._records[record.name] = record
            changed = self._seen.get(record.name) != (record.phase, record.attempt)
            self._seen[record.name] = (record.phase, record.attempt)
        if changed and self._live is None and not self._quiet and record.phase is not Phase.QUEUED:
            stderr().print(f"{record.name[:10]:10} {record.phase.value:9} {_label(record)}", soft_wrap=True)

    def warn(self, message: str) -> None:
        stderr().print(f"[bold yellow]warning:[/] {escape(message)}", soft_wrap=True)

    def tree(self) -> Tree:
        with self._lock:
            return action_tree(self._records.values(), self._title)

    def started(self) -> RunView:
        """Begin to draw; on a terminal the tree stays on the screen when the run has ended."""
        if not self._quiet and stderr().is_terminal:
            self._live = Live(get_renderable=self.tree, console=stderr(), refresh_per_second=8, transient=False)
            self._live.start()
        return self

    def stop(self) -> None:
        """Draw a last time."""
        if self._live is not None:
            self._live.stop()
            self._live = None
