"""Where the words of programs that were run for a build lie: one file for what ran on one thing."""

from __future__ import annotations

import re
from pathlib import Path

from ..kernel.paths import state_dir

__all__ = ["log_of"]


def log_of(environment: str, index: int, on: str) -> Path:
    """Where a step's programs' words go: one file for what ran on one thing."""
    name = re.sub(r"[^\w.-]", "_", environment)
    return state_dir() / "sealed" / f"{name}-step{index + 1}-{on.removeprefix('sha256:')[:12]}.log"
