"""Where a run's bytes lie on this machine, and under which names its tasks see them.

    runs/<run>/run.json             what was asked for; written once
    runs/<run>/journal.jsonl        what happened (see ``journal``)
    runs/<run>/meta/<action>/inputs.pb
    runs/<run>/meta/<action>/<attempt>/{outputs.pb,error.pb,report.html}
    runs/<run>/raw/<action>/<attempt>/…      files and checkpoints
    runs/<run>/kept/<action>/inputs.pb       what left a sandbox (see ``door``): no task can write here
    runs/<run>/kept/<action>/<attempt>/{outputs.pb,report.html,files/…}
    runs/<run>/seen/<other run>/…   what its tasks see of other runs (see ``seen``)
    runs/<run>/bundle/<sha256>.tgz  the code
    runs/<run>/logs/<action>/<attempt>.log
    runs/<run>/scratch/<action>-<attempt>/   the writable folders of a running sandbox

Tasks of a run write to its ``meta`` and ``raw``, so nothing in there is believed, and it is opened through the ``door``
only. Inside every sandbox runs are at one fixed place, so that a URI in an output never depends on this machine's
folders and stays good when another run reads it from a cache. Translation happens here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .action import CHECKPOINTS, INPUTS

__all__ = ["BUNDLES", "INPUTS_FOLDER", "MOUNT", "RunFolder", "Storage"]

MOUNT = "/mnt/flyte/runs"
# Apart from the runs: the bundle's path is in every child's arguments, and older runtimes hash those into action ids.
BUNDLES = "/mnt/flyte/bundles"
# Beside the runs: what was uploaded for their inputs (see ``uploads``).
INPUTS_FOLDER = "inputs"


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

    def below(self, uri: str, run: str) -> str:
        """The name below the folder of ``run`` of what its tasks write; raises ``ValueError`` for anything else."""
        relative = PurePosixPath(uri.removeprefix("file://"))
        if ".." not in relative.parts and relative.is_relative_to(f"{MOUNT}/{run}"):
            below = relative.relative_to(f"{MOUNT}/{run}")
            if below.parts and below.parts[0] in ("meta", "raw"):
                return str(below)
        raise ValueError(f"{uri!r} is not in {MOUNT}/{run}, where tasks write")

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
    def kept(self) -> Path:
        """What left a sandbox: written by the launcher only, and seen by tasks read-only."""
        return self.path / "kept"

    @property
    def seen(self) -> Path:
        """What tasks see of other runs (see ``seen``); stands where all runs would be."""
        return self.path / "seen"

    @property
    def bundles(self) -> Path:
        return self.path / "bundle"

    @property
    def scratch(self) -> Path:
        return self.path / "scratch"

    def inputs(self, action: str) -> Path:
        """The action's inputs, as they were taken over from its parent's sandbox."""
        return self.kept / action / INPUTS

    def outcome(self, action: str, attempt: int) -> Path:
        """Where the attempt's outputs and report are, once they were taken over."""
        return self.kept / action / str(attempt)

    def attempt(self, action: str, attempt: int) -> Path:
        """Where the attempt writes its outputs, error and report."""
        return self.meta / action / str(attempt)

    def data(self, action: str, attempt: int) -> Path:
        return self.raw / action / str(attempt)

    def checkpoints(self, action: str, attempt: int) -> Path:
        return self.data(action, attempt) / CHECKPOINTS

    def log(self, action: str, attempt: int) -> Path:
        return self.path / "logs" / action / f"{attempt}.log"

    def last_attempt(self, action: str) -> int:
        """The highest attempt there is a trace of, 0 if there is none."""
        folder = self.kept / action
        numbers = [int(p.name) for p in folder.iterdir() if p.name.isdigit()] if folder.is_dir() else []
        return max(numbers, default=0)
