"""The machine that was measured: numbers mean nothing without it."""

from __future__ import annotations

import os
import platform
import re
import resource
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

__all__ = ["busy_elsewhere", "describe", "file_system", "lines"]


def describe() -> dict[str, object]:
    """What decides the speed: processor, cores, memory, kernel, Python, inflaters, and how busy it was."""
    cpuinfo = _text("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    flags = set((re.search(r"^flags\s*:\s*(.*)$", cpuinfo, re.MULTILINE) or [""])[0].split())
    memory = re.search(r"MemTotal:\s*(\d+)", _text("/proc/meminfo"))
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "sha_extensions": "sha_ni" in flags or "sha2" in flags,
        "memory_bytes": int(memory[1]) * 1024 if memory else None,
        "kernel": ".".join(platform.release().split(".")[:2]),
        "python": platform.python_version(),
        "zlib": _zlib(),
        "isal": metadata.version("isal"),
        "flyte": metadata.version("flyte"),
        "load_average": [round(x, 2) for x in os.getloadavg()],
    }


@contextmanager
def busy_elsewhere() -> Iterator[list[float]]:
    """While the block runs, the share of all processors that other work took, in the list at its end."""
    found: list[float] = []
    started, busy, own = time.monotonic(), _busy(), _own()
    yield found
    seconds = max(time.monotonic() - started, 0.01) * (os.cpu_count() or 1)
    # The kernel counts in ticks, and what takes no longer than one may seem to have had more than there was.
    found.append(round(min(1.0, max(0.0, (_busy() - busy) - (_own() - own)) / seconds), 3))


def _busy() -> float:
    """Seconds for which processors were not idle, and those that the machine below took (proc_stat(5))."""
    user, nice, system, _idle, _iowait, *interrupts_and_steal = map(int, _text("/proc/stat").split()[1:9])
    return (user + nice + system + sum(interrupts_and_steal)) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def _zlib() -> str:
    version = getattr(zlib, "ZLIBNG_VERSION", None)
    return f"zlib-ng {version}" if version else f"zlib {zlib.ZLIB_RUNTIME_VERSION}"


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def lines(machine: dict[str, object]) -> Iterator[str]:
    for key, value in machine.items():
        yield f"  {key.replace('_', ' '):<16} {value}"


def file_system(folder: Path) -> str:
    """What ``folder`` is on, as `ext4`, and of an ext4 whether it keeps a journal: without one it makes files several
    times as slowly for minutes after others were removed, as it passes over each inode that was freed."""
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in _text("/proc/self/mountinfo").splitlines():
        mounted, _, rest = line.partition(" - ")
        if mounted.split()[2:3] == [wanted]:
            kind, source = rest.split()[:2]
            journal = _text(f"/sys/fs/ext4/{os.path.basename(os.path.realpath(source))}/journal_task").strip()
            return f"{kind}, no journal" if journal == "<none>" else kind
    return "unknown"
