"""What is watched while the fuzzer runs: time, memory, and every change that the process makes to files.

The guard is put up once for many cases. A case that takes too long is interrupted by a timer that looks at when it
began; memory ends at a limit of the address space; and an audit hook (PEP 578) sees each call that would write, make,
move or remove something, or start or reach something, and ends it where that is not below the guard's folder.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

__all__ = ["MEMORY", "PATIENCE", "Guard", "Hangs", "Outside"]

PATIENCE = 10.0
"""Seconds that a case may take."""
MEMORY = 500 << 20
"""Bytes of address space that all cases of a target may have beyond what the process has before."""

_TICK = 0.5
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Event → for each path of its arguments, the position of the folder that it is relative to (-1: none).
_PATHS: dict[str, tuple[tuple[int, int], ...]] = {
    "os.mkdir": ((0, 2),),
    "os.rmdir": ((0, 1),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "os.truncate": ((0, -1),),
    "os.setxattr": ((0, -1),),
    "os.removexattr": ((0, -1),),
}
_READABLE = (
    sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parents[2]), "/proc/self/", "/dev/null", "/dev/urandom",
    "/usr/share/zoneinfo", "/usr/lib/python3",
)  # fmt: skip
_NEVER = frozenset(
    {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.kill", "os.killpg"}
    | {"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "os.putenv", "os.chdir", "shutil.chown"}
)


class Hangs(BaseException):
    """A case is not done after :data:`PATIENCE`. No :class:`Exception`: a reader must not take it for damage."""


class Outside(BaseException):
    """A case would have changed something that is not its own."""


class Guard:
    """A folder for cases, and the watch over them for the time of the block. One at a time in a process.

    ``limited``: with a limit of memory, which holds for the whole process.
    """

    def __init__(self, *, limited: bool = False) -> None:
        self._limited = limited
        self.outside: list[str] = []
        self.touched = False
        self.began = 0.0

    def __enter__(self) -> Guard:
        place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._home = Path(tempfile.mkdtemp(prefix="fuzz-", dir=place)).resolve()
        self.folder, self._temporary = self._home / "case", self._home / "tmp"
        self.folder.mkdir()
        self._temporary.mkdir()
        self.home = str(self._home)
        self.inside = f"{self._home}/"
        self._before = tempfile.tempdir, sys.dont_write_bytecode, os.open
        tempfile.tempdir, sys.dont_write_bytecode = str(self._temporary), True
        os.open = _opens
        if threading.current_thread() is threading.main_thread():
            self._alarm: Any = signal.signal(signal.SIGALRM, self._tick)
            signal.setitimer(signal.ITIMER_REAL, _TICK, _TICK)
        self._memory = resource.getrlimit(resource.RLIMIT_AS)
        if self._limited:
            now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, self._memory[1]))
        if not _hooked:
            _hooked.append(True)
            sys.addaudithook(_audit)
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        global _guard
        _guard = None
        resource.setrlimit(resource.RLIMIT_AS, self._memory)
        if hasattr(self, "_alarm"):
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._alarm)
        tempfile.tempdir, sys.dont_write_bytecode, os.open = self._before
        shutil.rmtree(self._home, ignore_errors=True)

    def start(self) -> None:
        """A case begins; its folder is empty."""
        global _guard
        self.began = time.monotonic()
        _guard = self

    def end(self) -> str | None:
        """A case is over: its folder is emptied, and what it did that it may not is told."""
        global _guard
        self.began, _guard = 0.0, None
        if self.touched:
            self.touched = False
            if (left := self._emptied()) is not None:
                return left
        if self.outside:
            said, self.outside = self.outside, []
            return said[0]
        return None

    def _emptied(self) -> str | None:
        """Nothing of the case is left; what was left where nothing may be is told."""
        for entry in list(os.scandir(self.folder)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
        left = [f"{p} in the folder for temporary files" for p in os.listdir(self._temporary)]
        left += [f"{p} beside the case's folder" for p in os.listdir(self._home) if p not in ("case", "tmp")]
        if left:
            shutil.rmtree(self._temporary)
            self._temporary.mkdir()
            return f"left {', '.join(left)[:300]}"
        return None

    def _tick(self, number: int, frame: FrameType | None) -> None:
        if self.began and time.monotonic() - self.began > PATIENCE:
            self.began = 0.0
            raise Hangs(f"not done after {PATIENCE:g} seconds")

    def refuse(self, what: str) -> None:
        self.outside.append(what)
        raise Outside(what)

    def check(self, path: Any, at: int | None, *, follow: bool = False) -> None:
        """``path``, relative to the open folder ``at``, is below our folder; open files are, since they were opened."""
        self.touched = True
        if isinstance(path, int):
            return
        text = os.fsdecode(path)
        if text.startswith("/proc/self/fd/"):
            return
        if not text.startswith("/"):
            base = os.readlink(f"/proc/self/fd/{at}") if at is not None and at >= 0 else os.getcwd()
            text = f"{base}/{text}"
        folder, _, name = text.rpartition("/")
        real = os.path.realpath(text if follow or name in (".", "..", "") else folder)
        if not f"{real}/".startswith(self.inside) and text != os.devnull:
            self.refuse(f"would have changed {text}")


_guard: Guard | None = None
_hooked: list[bool] = []
_local = threading.local()
_real_open = os.open


def _opens(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    """``os.open`` that lets the hook know what a path is relative to: the event has no room for it."""
    _local.at = dir_fd
    try:
        return _real_open(path, flags, mode, dir_fd=dir_fd)
    finally:
        _local.at = None


def _audit(event: str, given: tuple[Any, ...]) -> None:
    guard = _guard
    if guard is None:
        return
    if event == "open":
        path, _, flags = given
        if isinstance(flags, int) and flags & _WRITING:
            guard.check(path, getattr(_local, "at", None), follow=not flags & os.O_NOFOLLOW)
        elif isinstance(path, str) and path[:1] == "/" and not path.startswith((guard.home, *_READABLE)):
            guard.refuse(f"would have read {path}")
    elif event in _PATHS:
        for path, at in _PATHS[event]:
            guard.check(given[path], given[at] if 0 <= at < len(given) else None)
    elif event in _NEVER:
        guard.refuse(f"would have called {event}: {given!r}"[:300])
