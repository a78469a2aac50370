"""What a sandbox shall look like, said once; each engine turns it into its own command.

Nothing here runs anything. Paths named ``target`` are inside the sandbox, ``source`` and ``root`` on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from ...kernel.values import dataclass, field

__all__ = ["GID", "INIT", "MASKED", "READ_ONLY", "SOCKET", "UID", "Engine", "Mount", "Network", "Sandbox", "Tmpfs"]

UID = GID = 1000
INIT = "/run/flyte-build/init.py"
SOCKET = "/run/flyte-build/actions.sock"
# Of /proc, what tells of the whole machine, and what changes it for whoever is root outside: as runc's default has it.
MASKED = (
    "acpi", "asound", "fs", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list",
    "timer_stats",
)  # fmt: skip
READ_ONLY = ("bus", "irq", "sys", "sysrq-trigger")

Network = Literal["host", "internet", "none"]
"""What a sandbox reaches: all that the host does; that, but for the host itself; or nothing but itself."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of the host, seen at ``target``. The place exists in the root, or lies on a tmpfs.

    ``device``: it is a device's node, which may be used as one.
    """

    source: Path
    target: str
    writable: bool = False
    device: bool = False


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """Fresh memory-backed storage at ``target``, of ``size`` bytes and, where the engine can say so, ``inodes`` files.

    Each file takes about a kilobyte of the kernel's memory besides.
    """

    target: str
    size: int = 16 << 20
    inodes: int = 65_536


@dataclass(frozen=True, slots=True)
class Sandbox:
    """New user, PID, mount, IPC and UTS namespaces (and network unless that is the host's) over a root tree.

    ``python`` is the interpreter that runs process 1, as a path inside. ``mounts`` are applied in order,
    after the tmpfs. The root is read-only, for whoever runs in it. ``filtered``: system calls are (see ``seccomp``).
    A way out to the ``internet`` is not the engine's to make (see ``entrance``). ``nests``: more sandboxes are made
    inside, so that /proc is shown whole and the calls that make them are allowed; ``offers``: the inherited socket
    over which these get networks of their own that lead into this one (see ``outside.outlet``). ``late`` are tmpfs that
    lie upon mounts; ``uid`` and ``gid`` are who runs inside; ``loader`` is what starts ``python``, where it does not
    start by itself (see ``pods.borrowed``).
    """

    root: Path
    python: str
    mounts: tuple[Mount, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = field(default=(Tmpfs("/run"),))
    network: Network = "host"
    filtered: bool = True
    nests: bool = False
    offers: int | None = None
    late: tuple[Tmpfs, ...] = ()
    uid: int = UID
    gid: int = GID
    loader: tuple[str, ...] = ()

    @property
    def first(self) -> tuple[str, ...]:
        """The command of process 1, inside."""
        return *self.loader, self.python, "-I", "-S", INIT


class Engine(Protocol):
    """A way to enter a sandbox on this machine."""

    @property
    def name(self) -> str:
        """For messages."""

    def command(self, box: Sandbox, seccomp: int | None = None) -> Sequence[str]:
        """The host's command that runs process 1 of ``box``; it needs an empty environment only.

        ``seccomp`` is the open file that it inherits the filter of system calls by; ``None``: there is none.
        """
