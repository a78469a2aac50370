"""Whose programs this machine runs: its own platform's, and those the kernel has an emulator for. Reads /proc only."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from .platforms import host_platform

__all__ = ["foreign"]

_MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}


def foreign(platform: str) -> str | None:
    """This machine's platform, where it does not run the programs of ``platform``."""
    here = host_platform()
    if platform == here:
        return None
    # An emulator that was opened when it was registered (flag F) works in any root (binfmt_misc of the kernel's docs).
    for entry in Path("/proc/sys/fs/binfmt_misc").glob(f"*{_MACHINES[platform]}*"):
        with suppress(OSError):
            text = entry.read_text(encoding="ascii", errors="replace")
            if text.startswith("enabled") and re.search(r"^flags:.*F", text, re.MULTILINE):
                return None
    return here
