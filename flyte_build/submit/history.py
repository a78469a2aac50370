"""Runs as they lie on the disk, for listing and for reading their logs. Only reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..kernel.documents import parse_object
from ..kernel.errors import RunError
from ..kernel.values import dataclass
from ..store.locks import try_acquire
from .action import ROOT_ACTION, ErrorInfo, Phase
from .journal import ActionRecord, read_journal
from .storage import Storage

__all__ = ["Run", "find_logs", "list_runs", "outcomes", "read_chain", "read_facts", "read_run", "run_of"]


@dataclass(frozen=True, slots=True)
class Run:
    """One run. ``phase`` is None for one that neither runs nor ended: its process was killed.

    Times are seconds since the epoch; ``actions`` are in the order they were first heard of, each as it was last.
    ``successes`` are the newest of each action that ever had one: a run that was resumed in its place and killed before
    it came to say so again has not lost them. ``told``: why a cluster alone tells of it; one that has ended then has no
    phase, and its actions that have are records of :attr:`Phase.RUNNING` with an end.
    """

    name: str
    folder: Path
    facts: Mapping[str, Any]
    actions: tuple[ActionRecord, ...]
    running: bool
    phase: Phase | None
    ended: float | None = None
    successes: tuple[ActionRecord, ...] = ()
    told: str = ""

    @property
    def state(self) -> str:
        """Its phase in a word, and what it is without one."""
        if self.phase is not None:
            return self.phase.value
        return "ended" if self.told else "killed"

    @property
    def task(self) -> str:
        return str(self.facts.get("task", ""))

    @property
    def docs(self) -> Mapping[str, str]:
        """What its tasks say of themselves, by their full names."""
        found = self.facts.get("docs")
        return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}

    @property
    def started(self) -> float:
        return float(self.facts.get("started", 0.0))

    @property
    def error(self) -> ErrorInfo | None:
        """The root action's."""
        return next((a.error for a in self.actions if a.name == ROOT_ACTION), None)


def list_runs(runs_dir: Path) -> list[Run]:
    """Every run, the newest first. A folder that is no run is passed over."""
    names = [p.name for p in runs_dir.iterdir() if (p / "run.json").is_file()] if runs_dir.is_dir() else []
    return sorted((read_run(runs_dir, name) for name in names), key=lambda run: run.started, reverse=True)


def read_run(runs_dir: Path, name: str) -> Run:
    """Read one run by its name or an unambiguous beginning of it; raises :class:`RunError`."""
    name = _full_name(runs_dir, name)
    folder = Storage(runs_dir).run(name)
    try:
        facts = read_facts(folder.facts.read_bytes())
    except (OSError, ValueError) as e:
        raise RunError(f"{folder.facts}: cannot be read: {e}", hint="the run ended before it began; start anew") from e
    return run_of(name, folder.path, facts, read_journal(folder.journal), str(folder.journal), _held(folder.lock))


def read_facts(data: bytes) -> dict[str, Any]:
    """A run's ``run.json``; raises ``ValueError``."""
    facts = parse_object(data)
    if isinstance(started := facts.get("started", 0.0), bool) or not isinstance(started, int | float):
        raise ValueError(f"started: expected a number, found {started!r}")
    return facts


def run_of(
    name: str, folder: Path, facts: Mapping[str, Any], entries: Iterable[Mapping[str, Any]], where: str, running: bool
) -> Run:
    """The run that the ``entries`` of the journal ``where`` tell of. ``running``: its driver lives.

    Raises :class:`RunError` for entries that are none.
    """
    actions: dict[str, ActionRecord] = {}
    successes: dict[str, ActionRecord] = {}
    end: Mapping[str, Any] = {}
    for entry in entries:
        if "action" in entry:
            record = ActionRecord.from_json(entry["action"])
            actions[record.name] = record
            if record.phase is Phase.SUCCEEDED:
                successes[record.name] = record
            end = {}  # a resumed run goes on after its end
        elif "run" in entry:
            end = entry["run"]
    try:
        phase = Phase.RUNNING if running else Phase(end["phase"]) if end else None
    except (ValueError, TypeError, KeyError) as e:
        raise RunError(
            f"{where}: expected how the run ended, found {end!r:.80}",
            hint="the run's journal was changed by hand; start the run anew",
        ) from e
    ended = end.get("ended")
    return Run(name, folder, facts, tuple(actions.values()), running, phase, ended, tuple(successes.values()))


def read_chain(runs_dir: Path, name: str, warn: Callable[[str], object]) -> list[Run]:
    """The run, the one that it resumed, the one that that resumed, and so on: the newest first.

    Raises :class:`RunError` where ``name`` itself cannot be read. ``warn`` hears of an earlier one that cannot: the
    chain ends there, and so it does where it would come to a run once more.
    """
    chain = [read_run(runs_dir, name)]
    seen = {chain[0].name}
    while before := chain[-1].facts.get("resume"):
        try:
            run = read_run(runs_dir, str(before))
        except RunError as e:
            warn(f"run {chain[-1].name} resumed {before}, whose successes are not reused: {e.message}")
            break
        if run.name in seen:
            break
        seen.add(run.name)
        chain.append(run)
    return chain


def outcomes(chain: Iterable[Run]) -> dict[str, ActionRecord]:
    """What is known of every action of a chain, the newest run first: its newest success, else its newest state.

    A run that was killed before it came to an action says less of it than the run that it resumed.
    """
    found: dict[str, ActionRecord] = {}
    for run in chain:
        for action in (*run.successes, *run.actions):
            known = found.get(action.name)
            if known is None or (action.phase is Phase.SUCCEEDED and known.phase is not Phase.SUCCEEDED):
                found[action.name] = action
    return found


def find_logs(run: Run, action: str | None = None) -> list[tuple[ActionRecord, Path]]:
    """The logs of every attempt of one action, or of all; raises :class:`RunError` for an action it does not have.

    ``action`` is an action's name, an unambiguous beginning of it, or a task's name (all its calls).
    """
    chosen = run.actions
    if action is not None:
        short = [a for a in run.actions if a.task == action or a.task.rpartition(".")[2] == action]
        chosen = tuple(a for a in run.actions if a.name == action) or tuple(short)
        if not chosen:
            begin = [a for a in run.actions if a.name.startswith(action)]
            chosen = tuple(begin) if len(begin) == 1 else ()
        if not chosen:
            names = ", ".join(f"{a.name} ({a.task})" for a in run.actions)
            raise RunError(f"run {run.name} has no action `{action}`", hint=f"its actions are {names}")
    out = []
    for record in chosen:
        folder = run.folder / "logs" / record.name
        logs = sorted(folder.glob("*.log"), key=lambda p: int(p.stem) if p.stem.isdigit() else 0)
        out += [(record, log) for log in logs]
    return out


def _full_name(runs_dir: Path, name: str) -> str:
    if (runs_dir / name / "run.json").is_file() and "/" not in name:
        return name
    found = sorted(p.parent.name for p in runs_dir.glob("*/run.json") if p.parent.name.startswith(name))
    if len(found) == 1:
        return found[0]
    if found:
        raise RunError(f"`{name}` is the beginning of several runs: {', '.join(found)}")
    raise RunError(f"no run `{name}` in {runs_dir}", hint="`flyte-build runs --all` lists them")


def _held(lock: Path) -> bool:
    if not lock.exists():
        return False
    try:
        handle = try_acquire(lock, shared=True)
    except OSError:
        return False
    if handle is None:
        return True
    os.close(handle)
    return False
