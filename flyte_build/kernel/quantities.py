"""Numbers as people read them: counted things, bytes, time that passed. Pure."""

from __future__ import annotations

import re

__all__ = ["counted", "duration", "size", "size_of"]


def counted(number: int, noun: str) -> str:
    """``1 image``, ``3 images``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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


def size_of(text: str) -> int:
    """Bytes of ``10Gi``, ``500M`` or ``1.5G``, as Kubernetes writes quantities; raises ``ValueError``."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)([kKMGTPE]i?|)", text, re.ASCII)
    if found is None:
        raise ValueError(f"expected a size such as `10Gi` or `500M`, found `{text}`")
    number, unit = found.groups()
    power = "kMGTPE".index(unit[0].replace("K", "k")) + 1 if unit else 0
    return int(float(number) * (1024 if unit.endswith("i") else 1000) ** power)


def duration(seconds: float) -> str:
    """``850 ms``, ``3.2 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds < 3599.5:
        return f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"
