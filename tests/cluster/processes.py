"""Processes that outlive the command that started them: each is known by its number and the time of its start.

A number that the kernel has given to another process since is never taken for ours, and nothing is ended by its name.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .site import ClusterError

__all__ = ["Processes", "descendants", "memory", "started"]

_TAIL = 15


def started(pid: int) -> int | None:
    """When the process began, in clock ticks since boot (proc(5), field 22); ``None`` if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def memory(pid: int) -> int:
    """What of the process is in memory, in bytes."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def descendants(pid: int) -> Iterator[tuple[int, list[str]]]:
    """All processes below this one, with their command lines."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    queue = [pid]
    while queue:
        for child in children.get(queue.pop(), ()):
            queue.append(child)
            try:
                yield child, Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            except OSError:
                continue


@dataclass(frozen=True)
class Processes:
    """Those of one cluster; ``home/processes/NAME`` has who they are, ``home/logs/NAME.log`` what they said."""

    home: Path

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.home / "processes").glob("*"))

    def log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def pid(self, name: str) -> int | None:
        """The number of the process that was started by this name and still runs."""
        try:
            known = json.loads((self.home / "processes" / name).read_text())
        except (FileNotFoundError, ValueError):
            return None
        # One that had ended before its start could be read has none.
        since = started(known["pid"])
        return int(known["pid"]) if since is not None and since == known["started"] else None

    def start(self, name: str, command: Sequence[str], environ: Mapping[str, str] | None = None) -> bool:
        """Runs ``command`` in a session of its own, unless it runs; ``environ`` is added to this process's. Whether it
        had to."""
        if self.pid(name) is not None:
            return False
        for folder in ("processes", "logs"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, **(environ or {})},
                start_new_session=True,
            )
        # It is no child to wait for: whoever runs `down` ends it.
        process.returncode = 0
        known = {"pid": process.pid, "started": started(process.pid)}
        new = self.home / f"{name}.new"
        new.write_text(json.dumps(known))
        new.rename(self.home / "processes" / name)
        return True

    def stop(self, name: str, signals: int = signal.SIGKILL, seconds: float = 30) -> None:
        """Ends the process, if it runs, and returns once it has ended.

        :raises ClusterError: it still runs after so many seconds
        """
        pid = self.pid(name)
        if pid is not None:
            self._end(name, pid, signals, seconds)
        (self.home / "processes" / name).unlink(missing_ok=True)

    def kill(self, name: str) -> None:
        """Tells the process to end, if it runs, and waits for nothing."""
        if (pid := self.pid(name)) is not None:
            with contextlib.suppress(ClusterError):
                self._end(name, pid, signal.SIGKILL, 0)

    def _end(self, name: str, pid: int, signals: int, seconds: float) -> None:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            # Between the look and the handle it may have become another's.
            if self.pid(name) != pid:
                return
            signal.pidfd_send_signal(handle, signals)
            if not select.select([handle], [], [], seconds)[0]:
                raise ClusterError(f"{name} (process {pid}) still runs {seconds} s after it was told to end")
        except ProcessLookupError:
            return
        finally:
            os.close(handle)
            _reap(pid)

    def gone(self, name: str, seconds: float = 30) -> None:
        """Returns once a process that was told to end by other means has ended.

        :raises ClusterError: it still runs after so many seconds
        """
        if (pid := self.pid(name)) is not None:
            self._end(name, pid, 0, seconds)

    def wait(self, name: str, ready: Callable[[], bool], seconds: float = 90) -> None:
        """Until the process is ready.

        :raises ClusterError: it ended, or is not ready in time; with the end of its log
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if self.pid(name) is None:
                raise ClusterError(f"{name} ended; {self.tail(name)}")
            if time.monotonic() > deadline:
                raise ClusterError(f"{name} is not ready after {seconds} s; {self.tail(name)}")
            time.sleep(0.1)

    def tail(self, name: str) -> str:
        try:
            lines = self.log(name).read_text(errors="replace").splitlines()[-_TAIL:]
        except FileNotFoundError:
            lines = []
        return "\n  ".join([f"the end of {self.log(name)}:", *lines])


def _reap(pid: int) -> None:
    """Of a child of this very process, nothing is left."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
