"""Memory, CPU and process limits of a sandbox through control groups, where this user may make them.

Both hierarchies are known: version 2 (a delegated subtree, or root) and version 1 (root). Which one carries a
controller is read from the kernel, never guessed. Limits are for one attempt's whole process tree, and the
out-of-memory killer's count and the refused forks say whether it died of them. Groups of dead launchers are removed
by the next one, whether or not it makes any of its own.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cgroups", "Group"]

PREFIX = "flyte-build-"
CPU_PERIOD = 100_000  # microseconds, the kernel's default
REMOVE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Group:
    """The folders (one in version 2, one for each controller in version 1) that limit one sandbox."""

    folders: tuple[Path, ...]

    @property
    def join(self) -> tuple[Path, ...]:
        """The files to which a process writes its id to enter."""
        return tuple(folder / "cgroup.procs" for folder in self.folders)

    def oom_kills(self) -> int:
        """How many processes the kernel killed here for want of memory."""
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                try:
                    lines = (folder / name).read_text().splitlines()
                except OSError:
                    continue
                counts = dict(line.split() for line in lines if len(line.split()) == 2)
                return int(counts.get("oom_kill", 0))
        return 0

    def refused_forks(self) -> int:
        """How many times the kernel refused a process or thread here, for there were as many as may be."""
        for folder in self.folders:
            try:
                words = (folder / "pids.events").read_text().split()
            except OSError:
                continue
            return int(words[1]) if words[:1] == ["max"] else 0
        return 0

    def remove(self) -> None:
        """Remove the folders; the kernel takes a moment to let go of the last process."""
        _remove(self.folders)


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Where groups can be made: a parent folder for each controller (the same folder for all in version 2)."""

    memory: Path | None
    cpu: Path | None
    unified: bool
    pids: Path | None = None

    @classmethod
    def detect(cls, proc: Path = Path("/proc/self")) -> Cgroups:
        """What this process may use; all None where it may use nothing. ``proc`` is for tests."""
        mounts = _mounts(proc)
        own = _memberships(proc)
        if (root := mounts.get("")) is not None and "" in own and (parent := _delegated(root, own[""])) is not None:
            enabled = (parent / "cgroup.subtree_control").read_text().split()
            memory, cpu, pids = (parent if name in enabled else None for name in ("memory", "cpu", "pids"))
            return cls(memory, cpu, unified=True, pids=pids)
        memory, cpu, pids = (_version1(mounts, own, name) for name in ("memory", "cpu", "pids"))
        return cls(memory, cpu, unified=False, pids=pids)

    def create(self, name: str, *, memory: int | None, cpu: float | None, pids: int | None = None) -> Group:
        """A fresh group with at most ``memory`` bytes (no swap), ``cpu`` cores, ``pids`` processes and threads.

        A limit whose controller is not there is left out: ask ``memory``, ``cpu`` and ``pids`` first. Raises OSError.
        """
        label = f"{PREFIX}{os.getpid()}-{_born(os.getpid())}-{name}"
        folders: dict[Path, None] = {}
        if memory is not None and self.memory is not None:
            folders[self.memory / label] = None
        if cpu is not None and self.cpu is not None:
            folders[self.cpu / label] = None
        if pids is not None and self.pids is not None:
            folders[self.pids / label] = None
        group = Group(tuple(folders))
        try:
            for folder in group.folders:
                folder.mkdir()
            if memory is not None and self.memory is not None:
                self._limit_memory(self.memory / label, memory)
            if cpu is not None and self.cpu is not None:
                self._limit_cpu(self.cpu / label, cpu)
            if pids is not None and self.pids is not None:
                _write(self.pids / label / "pids.max", pids)
        except OSError:
            group.remove()
            raise
        return group

    def sweep(self) -> None:
        """Remove the groups of launchers that are no more, as far as nothing lives in them."""
        parents = {parent for parent in (self.memory, self.cpu, self.pids) if parent is not None}
        _remove([folder for parent in parents for folder in parent.glob(f"{PREFIX}*") if _orphan(folder.name)])

    def _limit_memory(self, folder: Path, size: int) -> None:
        if self.unified:
            _write(folder / "memory.max", size)
            _write(folder / "memory.swap.max", 0, required=False)
            _write(folder / "memory.oom.group", 1, required=False)
        else:
            _write(folder / "memory.limit_in_bytes", size)
            _write(folder / "memory.memsw.limit_in_bytes", size, required=False)

    def _limit_cpu(self, folder: Path, cores: float) -> None:
        quota = max(int(cores * CPU_PERIOD), 1000)  # the kernel refuses less than a millisecond
        if self.unified:
            _write(folder / "cpu.max", f"{quota} {CPU_PERIOD}")
        else:
            _write(folder / "cpu.cfs_period_us", CPU_PERIOD)
            _write(folder / "cpu.cfs_quota_us", quota)


def _write(path: Path, value: object, *, required: bool = True) -> None:
    try:
        # Not write_text: the interface refuses O_TRUNC on no kernel, but creates nothing either.
        with open(path, "r+") as f:
            f.write(f"{value}\n")
    except OSError:
        if required:
            raise


def _mounts(proc: Path) -> dict[str, Path]:
    """Controller → mount point; version 2's has the name ``""`` (cgroups(7), proc_pid_mountinfo(5))."""
    out: dict[str, Path] = {}
    try:
        lines = (proc / "mountinfo").read_text().splitlines()
    except OSError:
        return out
    for line in lines:
        left, _, right = line.partition(" - ")
        point = Path(left.split()[4].encode().decode("unicode_escape"))
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2":
            out.setdefault("", point)
        elif kind == "cgroup":
            for controller in options.split(","):
                out.setdefault(controller, point)
    return out


def _memberships(proc: Path) -> dict[str, str]:
    """Controller → this process's group, as a path within the hierarchy."""
    out: dict[str, str] = {}
    try:
        lines = (proc / "cgroup").read_text().splitlines()
    except OSError:
        return out
    for line in lines:
        _, controllers, group = line.split(":", 2)
        for controller in controllers.split(","):
            out[controller] = group
    return out


def _delegated(root: Path, group: str) -> Path | None:
    """The nearest ancestor that limits memory for its children and in which this user may make one.

    Not the own group: version 2 lets no group have both processes and limited children.
    """
    folder = root / group.lstrip("/")
    while folder != root:
        folder = folder.parent
        try:
            enabled = (folder / "cgroup.subtree_control").read_text().split()
        except OSError:
            return None
        writable = os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)
        if "memory" in enabled and writable:
            return folder
    return None


def _version1(mounts: dict[str, Path], own: dict[str, str], controller: str) -> Path | None:
    if controller not in mounts or controller not in own:
        return None
    folder = mounts[controller] / own[controller].lstrip("/")
    if not folder.is_dir():
        folder = mounts[controller]  # a container sees its own group as the mount's root
    return folder if os.access(folder, os.W_OK) else None


def _remove(folders: Sequence[Path]) -> None:
    deadline = time.monotonic() + REMOVE_SECONDS
    for folder in folders:
        while True:
            try:
                folder.rmdir()
            except OSError as e:
                if e.errno == errno.EBUSY and time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
            break


def _orphan(name: str) -> bool:
    """Whether the launcher that made the group is no more: its number alone may be another process's by now."""
    pid, _, rest = name.removeprefix(PREFIX).partition("-")
    return pid.isdigit() and _born(int(pid)) not in ("", rest.partition("-")[0])


def _born(pid: int) -> str:
    """When the process ``pid`` began, in clock ticks since the boot (field 22 of proc_pid_stat(5)); ``-1`` for none.

    Empty where this may not be known.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return "-1"
    except (OSError, IndexError):
        return ""
