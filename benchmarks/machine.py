"""The machine that was measured: numbers mean nothing without it."""

from __future__ import annotations

import os
import platform
import re
import zlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

__all__ = ["describe"]


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
        "kernel": platform.release(),
        "python": platform.python_version(),
        "zlib": _zlib(),
        "isal": metadata.version("isal"),
        "flyte": metadata.version("flyte"),
        "load_average": [round(x, 2) for x in os.getloadavg()],
    }


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
