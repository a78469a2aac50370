"""The two consoles, sizes and durations for people. Results go to standard output, all else to standard error."""

from __future__ import annotations

from functools import cache

from rich.console import Console

__all__ = ["duration", "size", "stderr", "stdout"]


@cache
def stdout() -> Console:
    return Console(highlight=False, soft_wrap=False)


@cache
def stderr() -> Console:
    return Console(stderr=True, highlight=False)


def size(count: int | None) -> str:
    """``12.4 MB``: decimal units, as registries and disks count."""
    if count is None:
        return "–"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{int(value)} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """``850 ms``, ``3.2 s``, ``2 min 05 s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
