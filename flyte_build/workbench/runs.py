"""Runs that ended, and those that are kept: what came of one, what ran, and what it printed. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..kernel.errors import RunError
from ..kernel.paths import runs_dir
from ..kernel.quantities import duration
from ..kernel.values import dataclass
from ..project.layout import project_of
from ..submit.action import ROOT_ACTION, Phase
from ..submit.history import Run as Kept
from ..submit.history import find_logs, list_runs, read_run
from ..submit.journal import ActionRecord
from ..submit.literals import plain_outputs
from ..submit.tracebacks import last_traceback
from .shown import html_table, text_table

if TYPE_CHECKING:
    from ..submit.run import RunResult

__all__ = ["Kept", "Run", "find_logs", "kept_run", "kept_runs"]


@dataclass(frozen=True)
class Run:
    """How a run ended. ``actions`` are its calls of tasks, ``reports`` the HTML files that tasks wrote, in order.

    ``outputs`` are the root task's by name (``o0``, ``o1``, …) as values that JSON can hold; a ``File`` is its path on
    this machine. ``error`` is ``None`` where it succeeded.
    """

    name: str
    folder: Path
    phase: Phase
    actions: tuple[ActionRecord, ...]
    reports: tuple[Path, ...]
    outputs: Mapping[str, Any]
    error: RunError | None
    raw: RunResult

    @classmethod
    def of(cls, ended: RunResult) -> Run:
        """From what the engine gives."""
        outputs = plain_outputs(ended.outputs, ended.storage) if ended.outputs is not None else {}
        return cls(ended.name, ended.folder, ended.phase, ended.actions, ended.reports, outputs, _error(ended), ended)

    @property
    def succeeded(self) -> bool:
        return self.phase is Phase.SUCCEEDED

    @cached_property
    def result(self) -> Any:
        """What the task returned: one value as it is, several as a tuple, ``None`` for none. Raises :class:`RunError`
        where the run did not succeed."""
        if self.error is not None:
            raise self.error
        values = tuple(self.outputs.values())
        return values[0] if len(values) == 1 else values or None

    def to_json(self) -> dict[str, Any]:
        """The document of ``run --json``."""
        error = self.raw.error
        return {
            "schema": 1,
            "run": self.name,
            "folder": str(self.folder),
            "phase": self.phase.value,
            "outputs": dict(self.outputs),
            "reports": [str(r) for r in self.reports],
            "error": {"code": error.code, "message": error.message, "kind": error.kind} if error else None,
            "actions": [a.to_json() for a in self.actions],
        }

    def __str__(self) -> str:
        return text_table(*self._table(), self._title())

    def _repr_html_(self) -> str:
        return html_table(*self._table(), self._title())

    def _title(self) -> str:
        said = f": {self.error.message}" if self.error is not None else ""
        return f"{self.name} {self.phase.value}{said}"

    def _table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        rows: list[tuple[str, ...]] = []
        for a in sorted(self.actions, key=lambda a: (a.queued, a.name)):
            took = duration(a.ended - a.started) if a.started is not None and a.ended is not None else "–"
            rows.append((a.task or a.name, a.environment, a.phase.value, took, a.source or ""))
        return ("task", "environment", "state", "took", "from"), rows


def _error(ended: RunResult) -> RunError | None:
    """What the run failed of, in one line, with the task's own frames and the way on."""
    if ended.phase is Phase.SUCCEEDED:
        return None
    error = ended.error
    summary = error.headline if error else "no reason was given"
    # The root's error is its own, or came up to it from the action that has the same: the one that was called last.
    same = [a for a in ended.actions if a.error and error and a.error.message == error.message]
    begun = same[-1] if same else None
    told = last_traceback(Path(begun.log)) if begun and begun.log else None
    message = error.message if error and "\n" in error.message.strip() else None
    named = f" {begun.name[:10]}" if begun and begun.name != ROOT_ACTION else ""
    whose = "the task that failed" if named else "it"
    on = f"--on {ended.target} " if ended.target else ""
    return RunError(
        f"run {ended.name} {ended.phase.value}: {summary}",
        detail=told or message,
        hint=f"`flyte-build logs {on}{ended.name}{named}` shows what {whose} printed\n"
        f"`flyte-build run {on}--resume {ended.name}` reuses what succeeded",
    )


def kept_runs(limit: int | None = None, *, project: Path | None = None) -> list[Kept]:
    """The runs of this machine, the newest first; with ``project``, a folder, of the project that it is in."""
    found = list_runs(runs_dir())
    if project is not None:
        top = project_of(project.absolute())
        found = [r for r in found if (file := _file_of(r)) is not None and file.is_relative_to(top)]
    return found[:limit]


def _file_of(run: Kept) -> Path | None:
    """The file that the run was started of, where it says so."""
    said = run.facts.get("invocation")
    file = said.get("file") if isinstance(said, dict) else None
    return Path(file) if isinstance(file, str) else None


def kept_run(name: str) -> Kept:
    """The run whose name begins with ``name``; raises :class:`RunError` where that is not exactly one."""
    return read_run(runs_dir(), name)
