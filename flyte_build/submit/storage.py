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
    runs/<run>/requests/<request>.json       what people ask of it while it runs (see ``requests``)
    runs/<run>/scratch/<action>-<attempt>/   the writable folders of a running sandbox (``warm1/…``: of a worker's fork)
    runs/<run>/workers/warm1.log    what a warm worker said

Tasks of a run write to its ``meta`` and ``raw``, so nothing in there is believed, and it is opened through the ``door``
only. Inside every sandbox runs are at one fixed place, so that a URI in an output never depends on this machine's
folders and stays good when another run reads it from a cache. Translation happens here and nowhere else.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path, PurePosixPath

from ..kernel.values import dataclass
from .action import CHECKPOINTS, INPUTS

__all__ = ["BUNDLES", "INPUTS_FOLDER", "MOUNT", "RunFolder", "Storage"]

MOUNT = "/mnt/flyte/runs"
# Apart from the runs: the bundle's path is in every child's arguments, and older runtimes hash those into action ids.
BUNDLES = "/mnt/flyte/bundles"
# Beside the runs: what was uploaded for their inputs (see ``uploads``).
INPUTS_FOLDER = "inputs"


@dataclass(frozen=True, slots=True)
class Storage:
    """All runs' folder on this machine, and what tasks call it.

    ``base`` is its name for them: a place inside of every sandbox, or the URL of the object storage that pods share
    and that this folder holds a part of.
    """

    runs: Path
    base: str = MOUNT

    def uri(self, path: Path) -> str:
        """The name for tasks of a path below ``runs``; raises ``ValueError`` for any other."""
        here, top = str(path), str(self.runs)
        if here != top and not here.startswith(f"{top}/"):
            raise ValueError(f"{here!r} is not below {top!r}")
        return self.base + here[len(top) :]

    @property
    def remote(self) -> bool:
        """Whether this folder is only a part of what the runs have."""
        return not self.base.startswith("/")

    def shown(self, path: Path) -> str:
        """What people are told of a path below ``runs``: itself, or where it is for those on other machines."""
        return self.uri(path) if self.remote else str(path)

    def path(self, uri: str) -> Path:
        """The path on this machine of a name for tasks; raises ``ValueError`` where it leads out of ``runs``.

        Links are followed before judging: a task can put any link into its run's folder.
        """
        below = self._below(uri)
        if below is None:
            raise ValueError(f"{uri!r} is not below {self.base}")
        path = self.runs / below
        if not path.resolve().is_relative_to(self.runs.resolve()):
            raise ValueError(f"{uri!r} leads out of {self.base}")
        return path

    def inside(self, uri: str) -> str:
        """The name below ``runs`` of what has the name ``uri`` for tasks; raises ``ValueError`` for any other."""
        below = self._below(uri)
        if below is None:
            raise ValueError(f"{uri!r} is not below {self.base}")
        return str(below)

    def below(self, uri: str, run: str) -> str:
        """The name below the folder of ``run`` of what its tasks write; raises ``ValueError`` for anything else."""
        below = self._below(uri)
        if below is not None and len(below.parts) > 1 and below.parts[0] == run and below.parts[1] in ("meta", "raw"):
            return str(PurePosixPath(*below.parts[1:]))
        raise ValueError(f"{uri!r} is not in {self.base}/{run}, where tasks write")

    def _below(self, uri: str) -> PurePosixPath | None:
        """The name below ``runs``, or ``None`` for what is not."""
        plain = uri.removeprefix("file://") if self.base.startswith("/") else uri
        base, below = plain[: len(self.base)], plain[len(self.base) :]
        path = PurePosixPath(below.lstrip("/"))
        inside = base == self.base and below[:1] in ("", "/") and ".." not in path.parts
        return path if inside else None

    def run(self, name: str) -> RunFolder:
        return RunFolder(self, name)


@dataclass(frozen=True)
class RunFolder:
    """One run's folder. Nothing is created by asking."""

    storage: Storage
    name: str

    @cached_property
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

    @cached_property
    def meta(self) -> Path:
        return self.path / "meta"

    @cached_property
    def raw(self) -> Path:
        return self.path / "raw"

    @cached_property
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
    def requests(self) -> Path:
        """What people ask of the run while it runs (see ``requests``)."""
        return self.path / "requests"

    @property
    def scratch(self) -> Path:
        return self.path / "scratch"

    @property
    def workers(self) -> Path:
        return self.path / "workers"

    def inputs(self, action: str) -> Path:
        """The action's inputs, as they were taken over from its parent's sandbox."""
        return self.kept.joinpath(action, INPUTS)

    def outcome(self, action: str, attempt: int) -> Path:
        """Where the attempt's outputs and report are, once they were taken over."""
        return self.kept.joinpath(action, str(attempt))

    def attempt(self, action: str, attempt: int) -> Path:
        """Where the attempt writes its outputs, error and report."""
        return self.meta.joinpath(action, str(attempt))

    def data(self, action: str, attempt: int) -> Path:
        return self.raw.joinpath(action, str(attempt))

    def checkpoints(self, action: str, attempt: int) -> Path:
        return self.raw.joinpath(action, str(attempt), CHECKPOINTS)

    def log(self, action: str, attempt: int) -> Path:
        return self.path.joinpath("logs", action, f"{attempt}.log")

    def last_attempt(self, action: str) -> int:
        """The highest attempt there is a trace of, 0 if there is none."""
        try:
            names = os.listdir(f"{self.kept}/{action}")
        except (FileNotFoundError, NotADirectoryError):
            return 0
        return max((int(name) for name in names if name.isdigit()), default=0)
