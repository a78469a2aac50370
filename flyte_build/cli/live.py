"""A run as people see it: the tree of its actions, live on a terminal, a line a change elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from rich.live import Live
from rich.markup import escape
from rich.text import Text
from rich.tree import Tree

from ..submit.action import Phase
from ..submit.journal import ActionRecord
from .console import duration, interactive, stderr
from .errors import say

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
_SOURCES = {"cache": "[cyan]cached[/]", "resume": "[cyan]reused[/]"}


def action_tree(
    records: Iterable[ActionRecord],
    title: str,
    lines: Mapping[str, str] = MappingProxyType({}),
    docs: Mapping[str, str] = MappingProxyType({}),
) -> Tree:
    """The actions of a run under their parents, groups as nodes of their own, in the order they were queued.

    ``lines``: how attempts look from outside, by action. ``docs``: what tasks say of themselves, whose first line
    stands beside the first action of each.
    """
    untold = {task: text.partition("\n")[0] for task, text in docs.items()}
    children: dict[str, list[ActionRecord]] = {}
    for record in sorted(records, key=lambda r: (r.queued, r.name)):
        children.setdefault(record.parent, []).append(record)
    tree = Tree(_text(f"[bold]{escape(title)}[/]"), guide_style="dim")
    pending = [("", tree)]
    while pending:
        parent, node = pending.pop()
        members: dict[str, list[ActionRecord]] = {}
        for record in children.get(parent, []):
            members.setdefault(record.group, []).append(record)
        for group, siblings in members.items():
            place = node.add(_text(f"[dim]group[/] {escape(group)}  [dim]{_done(siblings)}[/]")) if group else node
            shown, hidden = _worth_showing(siblings)
            for r in shown:
                doc = untold.pop(r.task, "")
                label = _label(r, lines.get(r.name, "")) + (f"  [dim italic]{escape(doc)}[/]" if doc else "")
                pending.append((r.name, place.add(_text(label))))
            for line in _together(hidden):
                place.add(_text(line))
    return tree


def _text(markup: str) -> Text:
    """One line whatever it holds: cut at the terminal's edge, for a tree of changing height cannot be drawn over."""
    text = Text.from_markup(markup, overflow="ellipsis")
    text.no_wrap = True
    return text


def _done(records: Sequence[ActionRecord]) -> str:
    return f"{sum(r.phase.terminal for r in records)}/{len(records)}"


def _worth_showing(records: list[ActionRecord]) -> tuple[list[ActionRecord], list[ActionRecord]]:
    if len(records) <= _MANY:
        return records, []
    telling = [r for r in records if r.phase.terminal and r.phase is not Phase.SUCCEEDED]
    telling += [r for r in records if r.phase in (Phase.RUNNING, Phase.PAUSED)]
    names = {r.name for r in telling[:_MANY]}
    return [r for r in records if r.name in names], [r for r in records if r.name not in names]


def _together(records: Iterable[ActionRecord]) -> list[str]:
    """``✓ 97 × square`` for those that are not listed one by one."""
    tally: dict[tuple[Phase, str], list[ActionRecord]] = {}
    for record in records:
        tally.setdefault((record.phase, _name(record)), []).append(record)
    return [
        f"{_MARKS[phase]} {len(alike)} × {escape(name)}  [dim]{alike[0].environment} {phase.value}[/]"
        for (phase, name), alike in tally.items()
    ]


def _name(record: ActionRecord) -> str:
    return record.short_name or record.task.removeprefix(f"{record.environment}.") or record.name


def _label(record: ActionRecord, line: str = "") -> str:
    name = escape(_name(record))
    words = [f"[bold]{name}[/]" if record.phase is Phase.RUNNING else name]
    if record.short_name:
        words.append(f"[dim]{escape(record.task.rpartition('.')[2])}[/]")
    if record.environment:
        words.append(f"[dim]{escape(record.environment)}[/]")
    if line and record.phase is Phase.RUNNING:
        words.append(f"[dim]{escape(line)}[/]")
    return f"{_MARKS[record.phase]} {'  '.join([*words, *_facts(record)])}"


def _facts(record: ActionRecord) -> list[str]:
    facts = []
    if record.run:
        facts.append(f"[dim]run[/] {escape(record.run)}")
    if record.kind != "task":
        facts.append(f"[dim]{record.kind}[/]")
    if record.source:
        facts.append(_SOURCES.get(record.source, escape(record.source)))
    elif record.started is not None and record.phase is not Phase.QUEUED:
        facts.append(duration((record.ended or time.time()) - record.started))
    if record.attempt > 1 and not record.source:
        facts.append(f"[yellow]attempt {record.attempt}[/]{_tries(record)}")
    if record.phase is Phase.PAUSED and record.prompt:
        facts.append(f"{escape(record.prompt)}{f' ({record.asks})' if record.asks else ''}")
    if record.phase.terminal and (error := _error(record)):
        facts.append(error)
    if record.queue:
        facts.append(f"[dim]queue {escape(record.queue)}[/]")
    if record.interruptible:
        facts.append("[dim]interruptible[/]")
    return facts


def _tries(record: ActionRecord) -> str:
    """`` (✗ 1.2 s, ✓ 0.4 s)``: how each of several attempts went."""
    tries = ", ".join(f"{_MARKS[a.phase]} {duration(a.ended - a.started)}" for a in record.attempts)
    return f" [dim]([/]{tries}[dim])[/]" if tries else ""


def _error(record: ActionRecord) -> str:
    """``ValueError: no such thing``."""
    if record.error is None:
        return ""
    if record.phase is Phase.ABORTED:
        return "[yellow]aborted[/]"
    code, colon, line = record.error.headline.partition(": ")
    return f"[red]{escape(code)}[/]{colon}{escape(line)}"


class RunView:
    """The observer of a run (:class:`flyte_build.submit.observer.Observer`), drawn on standard error."""

    def __init__(
        self, title: str, *, quiet: bool = False, docs: Mapping[str, str] = MappingProxyType({}), run: str = ""
    ) -> None:
        self._title, self._docs, self._run = title, docs, run
        self._heard: Callable[[ActionRecord], object] = lambda _: None
        self._held = False
        self._quiet = quiet
        self._records: dict[str, ActionRecord] = {}
        self._lines: dict[str, str] = {}
        self._live: Live | None = None
        self._lock = threading.Lock()

    def on_action(self, record: ActionRecord) -> None:
        with self._lock:
            before = self._records.get(record.name)
            self._records[record.name] = record
        changed = before is None or (before.phase, before.attempt) != (record.phase, record.attempt)
        drawn = self._live is not None or self._held
        if changed and not drawn and not self._quiet and record.phase is not Phase.QUEUED:
            self._line(record, before)
        self._heard(record)

    def heard_by(self, listener: Callable[[ActionRecord], object]) -> None:
        """``listener`` hears of every action, too. Before anything runs."""
        self._heard = listener

    def hold(self) -> None:
        """Leave the terminal alone until :meth:`go_on`. The tree goes, as one that stands still would soon be wrong; it
        is drawn again below what is said meanwhile."""
        self._held, live, self._live = self._live is not None, self._live, None
        if live is not None:
            live.transient = True
            live.stop()

    def go_on(self) -> None:
        if self._held:
            self._held = False
            self.started()

    def _line(self, record: ActionRecord, before: ActionRecord | None) -> None:
        """What changed, for a log: when, which action, and its facts."""
        name = f"{escape(record.task or record.name)}  [dim]{record.name[:10]}[/]"
        name += f"  {escape(record.short_name)}" if record.short_name else ""
        lines = []
        if record.phase is Phase.RUNNING:
            if before is not None and 0 < before.attempt < record.attempt and record.error is not None:
                lines.append(f"[yellow]↻[/] {name}  attempt {before.attempt} failed  {_error(record)}")
            lines.append(
                f"{_MARKS[record.phase]} {name}" + (f"  attempt {record.attempt}" if record.attempt > 1 else "")
            )
        else:
            lines.append("  ".join([f"{_MARKS[record.phase]} {name}", *_facts(record)]))
        if record.phase is Phase.PAUSED and self._run:
            lines[-1] += f"  [dim]waits for `flyte-build signal {escape(self._run)} {escape(record.task)} VALUE`[/]"
        clock = datetime.now().astimezone().strftime("%H:%M:%S")
        for line in lines:
            stderr().print(f"[dim]{clock}[/] {line}", soft_wrap=True)

    def on_line(self, action: str, attempt: int, line: str) -> None:
        with self._lock:
            self._lines[action] = line
            record = self._records.get(action)
        if not action and self._live is None and not self._quiet:
            stderr().print(f"[dim]{escape(line)}[/]", soft_wrap=True)
        if record is not None and self._live is None and not self._quiet:
            name = f"{escape(record.task or record.name)}  [dim]{record.name[:10]}[/]"
            clock = datetime.now().astimezone().strftime("%H:%M:%S")
            stderr().print(f"[dim]{clock}[/]   {name}  [dim]{escape(line)}[/]", soft_wrap=True)

    def warn(self, message: str) -> None:
        say(stderr(), "warning", message)

    def tree(self) -> Tree:
        with self._lock:
            title = self._title if self._records else f"{self._title}  {self._lines.get('', '')}"
            return action_tree(self._records.values(), title, self._lines, self._docs)

    def started(self) -> RunView:
        """Begin to draw; on a terminal the tree stays on the screen when the run has ended."""
        if self._quiet:
            return self
        if interactive(stderr()):
            self._live = Live(get_renderable=self.tree, console=stderr(), refresh_per_second=8, transient=False)
            self._live.start()
        else:
            stderr().print(f"[bold]{escape(self._title)}[/]", soft_wrap=True)
        return self

    def stop(self) -> None:
        """Draw a last time."""
        if self._live is not None:
            self._live.stop()
            self._live = None
