"""What this process holds open below a folder. Threads of earlier tests open and close files of their own meanwhile."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["open_below"]


def open_below(folder: Path) -> int:
    """How many of this process's descriptors are of ``folder``, or of something in it, removed or not (Linux)."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            place = os.readlink(f"/proc/self/fd/{number}").removesuffix(" (deleted)")
            found += place == str(folder) or place.startswith(f"{folder}/")
    return found
