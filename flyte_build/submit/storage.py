"""Where a run's bytes lie on this machine, and under which names its tasks see them.

    runs/<run>/run.json             what was asked for; written once
    runs/<run>/journal.jsonl        what happened (see ``journal``)
    runs/<run>/meta/<action>/inputs.pb
    runs/<run>/meta/<action>/<attempt>/{outputs.pb,error.pb,report.html}
    runs/<run>/raw/<action>/<attempt>/…      files and checkpoints
    runs/<run>/bundle/<sha256>.tgz  the code
    runs/<run>/logs/<action>/<attempt>.log
    runs/<run>/scratch/<action>-<attempt>/   the writable folders of a running sandbox

Inside every sandbox all runs are at one fixed place, so that a URI in an output never depends on this machine's folders
and stays good when another run reads it from a cache. Translation happens here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .action import CHECKPOINTS, INPUTS

__all__ = ["BUNDLES", "MOUNT", "RunFolder", "Storage"]

MOUNT = "/mnt/flyte/runs"
# Apart from the runs: the bundle's path is in every child's arguments, and older runtimes hash those into action ids.
BUNDLES = "/mnt/flyte/bundles"


@dataclass(frozen=True, slots=True)
class Storage:
    """All runs' folder on this machine, which sandboxes see at ``MOUNT``."""

    runs: Path

    def uri(self, path: Path) -> str:
        """The name inside of a path below ``runs``; raises ``ValueError`` for any other."""
        return str(PurePosixPath(MOUNT, path.relative_to(self.runs).as_posix()))

    def path(self, uri: str) -> Path:
        """The path on this machine of a name inside; raises ``ValueError`` where it leads out of ``runs``.

        Links are followed before judging: a task can put any link into its run's folder.
        """
        relative = PurePosixPath(uri.removeprefix("file://"))
        if not relative.is_relative_to(MOUNT) or ".." in relative.parts:
            raise ValueError(f"{uri!r} is not below {MOUNT}")
        path = self.runs / relative.relative_to(MOUNT)
        if not path.resolve().is_relative_to(self.runs.resolve()):
            raise ValueError(f"{uri!r} leads out of {MOUNT}")
        return path

    def run(self, name: str) -> RunFolder:
        return RunFolder(self, name)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder. Nothing is created by asking."""

    storage: Storage
    name: str

    @property
    def path(self) -> Path:
        return self.storage.runs / self.name

    @property
    def facts(self) -> Path:
        return self.path / "run.json"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """Held as long as the run is running."""
        return self.path / "lock"

    @property
    def socket(self) -> Path:
        return self.path / "actions.sock"

    @property
    def meta(self) -> Path:
        return self.path / "meta"

    @property
    def raw(self) -> Path:
        return self.path / "raw"

    @property
    def bundles(self) -> Path:
        return self.path / "bundle"

    @property
    def scratch(self) -> Path:
        return self.path / "scratch"

    def inputs(self, action: str) -> Path:
        return self.meta / action / INPUTS

    def attempt(self, action: str, attempt: int) -> Path:
        """Where the attempt's outputs, error and report go."""
        return self.meta / action / str(attempt)

    def data(self, action: str, attempt: int) -> Path:
        return self.raw / action / str(attempt)

    def checkpoints(self, action: str, attempt: int) -> Path:
        return self.data(action, attempt) / CHECKPOINTS

    def log(self, action: str, attempt: int) -> Path:
        return self.path / "logs" / action / f"{attempt}.log"

    def last_attempt(self, action: str) -> int:
        """The highest attempt there is a trace of, 0 if there is none."""
        folder = self.meta / action
        numbers = [int(p.name) for p in folder.iterdir() if p.name.isdigit()] if folder.is_dir() else []
        return max(numbers, default=0)
