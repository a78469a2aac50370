"""How a run ended, wherever it ran: a value."""

from __future__ import annotations

from pathlib import Path

from ..kernel.values import dataclass
from .action import ErrorInfo, Phase
from .journal import ActionRecord
from .storage import Storage

__all__ = ["RunResult"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. ``outputs`` is the serialized ``flyteidl2.task.Outputs`` of the root, if it has any.

    URIs in it are names for tasks: ``storage.path(uri)`` is the file on this machine, where it has it.
    ``target`` is the one it ran on; none is this machine.
    """

    name: str
    folder: Path
    phase: Phase
    storage: Storage
    actions: tuple[ActionRecord, ...]
    outputs: bytes | None = None
    outputs_path: Path | None = None
    error: ErrorInfo | None = None
    target: str = ""

    @property
    def reports(self) -> tuple[Path, ...]:
        """The reports that tasks wrote, in the order they began."""
        ordered = sorted(self.actions, key=lambda a: a.queued)
        return tuple(dict.fromkeys(Path(a.report) for a in ordered if a.report))
