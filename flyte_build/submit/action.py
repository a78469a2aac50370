"""An action, described without saying where it runs: what the service hands a launcher and what comes back.

An action is one invocation of a task (or a trace, or a condition) in a run; an attempt is one try at it. The
local launcher turns a :class:`LaunchRequest` into a sandbox, a later one into a Kubernetes Job, from
the same fields. Values only: nothing here runs, reads or writes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from ..kernel.values import dataclass, field

__all__ = [
    "CHECKPOINTS",
    "ERROR",
    "INLINE",
    "INPUTS",
    "OUTPUTS",
    "REPORT",
    "ROOT_ACTION",
    "ErrorInfo",
    "ImageRoot",
    "Kind",
    "LaunchRequest",
    "Launcher",
    "Left",
    "Outcome",
    "Phase",
    "Resources",
    "ReusePolicy",
    "RootAction",
    "SecretRef",
]

# The names flyte's runtime gives its files (flyte._internal.runtime.io, unchanged since 2.0) and its root action.
INPUTS = "inputs.pb"
OUTPUTS = "outputs.pb"
ERROR = "error.pb"
REPORT = "report.html"
CHECKPOINTS = "_flytecheckpoints"
ROOT_ACTION = "a0"
INLINE = 64 << 20
"""The most bytes that a message of a task may have (outputs.pb, error.pb, inputs.pb), unless its task says more."""

Kind: TypeAlias = Literal["task", "trace", "condition"]


class Phase(StrEnum):
    """Where an action is. The last four are terminal."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"  # a condition that waits for its signal
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"
    TIMED_OUT = "timed out"

    @property
    def terminal(self) -> bool:
        return self in (Phase.SUCCEEDED, Phase.FAILED, Phase.ABORTED, Phase.TIMED_OUT)


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """Why an action did not succeed. ``kind`` says whose: the user's code, or the system around it."""

    code: str
    message: str
    kind: Literal["user", "system"] = "user"

    @property
    def headline(self) -> str:
        """``ValueError: no such thing``: its type, and the first line of what it says.

        A message that is the end of a log, or a whole traceback, says in its last line what happened.
        """
        lines = [line.strip() for line in self.message.strip().splitlines() if line.strip()]
        told = bool(lines) and (lines[0].startswith("Traceback (most recent") or lines[0].endswith("end of its log:"))
        line = lines[-1 if told else 0].removeprefix(f"{self.code}: ") if lines else ""
        return f"{self.code}: {line}" if line else self.code


@dataclass(frozen=True, slots=True)
class RootAction:
    """The invocation a run begins with, as ``flyte.with_runcontext(mode="remote", dry_run=True)`` describes it.

    ``task_spec`` and ``inputs`` are serialized ``flyteidl2.task.TaskSpec`` and ``flyteidl2.task.Inputs``; ``bundle``
    is the code bundle (.tgz) on this machine. ``env`` holds for every action of the run (``_F_SYS_PATH``, log level).
    ``queue`` is the one that the task names.
    """

    task_spec: bytes
    inputs: bytes
    bundle: Path
    environment: str
    task: str
    env: Mapping[str, str] = field(default_factory=dict)
    queue: str = ""


@dataclass(frozen=True, slots=True)
class ImageRoot:
    """An image, unpacked: its manifest's digest, its tree, and what its config says (OCI image spec, ``config``).

    ``env`` has the config's ``NAME=value`` form. ``python`` is an interpreter's path inside. ``binds`` are more
    host paths to show, read-only, as (source, path inside). ``entrypoint`` and ``command`` are what a container of it
    runs where nobody says. ``python`` is empty where an image that runs no task has none.
    """

    digest: str
    root: Path
    python: str
    env: tuple[str, ...] = ()
    workdir: str = ""
    binds: tuple[tuple[Path, str], ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resources:
    """What a task asks for; None where it says nothing. ``cpu`` in cores, ``memory``, ``shm`` and ``disk`` in bytes.

    ``accelerator`` is what it asks for in words, ``gpus`` are how many of these are NVIDIA's; ``partition``: parts.
    """

    cpu: float | None = None
    memory: int | None = None
    shm: int | None = None
    accelerator: str | None = None
    disk: int | None = None
    gpus: int = 0
    partition: bool = False


@dataclass(frozen=True, slots=True)
class ReusePolicy:
    """How an environment's processes are reused: replicas, actions at once in each, and seconds (see ``warm``)."""

    fewest: int
    most: int
    concurrency: int = 1
    idle: float = 30.0
    scaledown: float = 30.0


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A secret by name, never by value: ``env`` is the variable it becomes, or None for a file."""

    key: str
    group: str = ""
    env: str | None = None


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """One attempt, ready to run: every template value is filled in.

    ``image`` is a manifest digest, ``args`` the container's command, ``env`` its variables besides the image's
    own, ``timeout`` seconds of running, ``log`` where both standard streams go. ``task_spec`` is the whole
    serialized description, for launchers that need more of it; ``environment`` is the task's; ``inline`` the most bytes
    that its outputs may have, ``queue`` what the task names (launchers without queues have no use for it); ``reuse``
    says that its process is one of its environment's.
    """

    run: str
    action: str
    attempt: int
    task: str
    image: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    resources: Resources = Resources()
    secrets: tuple[SecretRef, ...] = ()
    timeout: float | None = None
    task_spec: bytes = b""
    environment: str = ""
    inline: int = INLINE
    queue: str = ""
    reuse: ReusePolicy | None = None

    @property
    def code(self) -> str:
        """The URI of its code, as the runtime's arguments have it; empty where they have none."""
        return next((after for option, after in itertools.pairwise(self.args) if option == "--tgz"), "")


@dataclass(frozen=True, slots=True)
class Left:
    """What an attempt left, and what of it was taken over: whether outputs and a report were; its error.pb."""

    outputs: bool = False
    report: bool = False
    error: bytes | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt's processes ended, which is not yet the action's verdict (see ``verdict``).

    ``reason`` is ``timeout`` when the launcher ended it, ``oom`` when the kernel killed in it for memory, ``pids`` when
    it refused a process (which it may have lived with), ``disk`` and ``files`` when it wrote more than it may,
    ``lost`` when it was taken from its task by no fault of its own (a node that went, an eviction), and ``error`` when
    it never ran because of what ``message`` says; else empty. Of an ``error``, ``whose`` fault it is, and whether
    trying ``again`` may help. ``left`` is told by launchers whose attempts do not write to this machine.
    """

    exit_code: int
    reason: Literal["", "timeout", "oom", "pids", "disk", "files", "lost", "error"] = ""
    message: str = ""
    code: str = ""
    whose: Literal["user", "system"] = "system"
    again: bool = False
    left: Left | None = field(default=None, compare=False)


class Launcher(Protocol):
    """Runs attempts. One launcher serves a whole run, concurrently."""

    async def launch(self, request: LaunchRequest) -> Outcome:
        """Run one attempt to its end. Cancelling the call ends the attempt; it returns when nothing is left of it."""

    async def settle(
        self, action: str, document: str, target: Path, kind: Literal["inputs", "outputs"], limit: int = ...
    ) -> None:
        """Take over ``document``, which the running ``action`` wrote, to ``target``, and what it refers to with it.

        ``document`` is its URI, ``target`` below the run's ``kept``, ``limit`` the most bytes that it may have. Raises
        OSError for what may not be taken over.
        """

    async def fetch(self, document: Path) -> None:
        """Make what a task of the run left at ``document`` readable there, if there is such a thing."""
