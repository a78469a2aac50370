"""How a project's code lies on the disk, so that a change is noticed. Reads no file."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["snapshot"]

_SKIPPED = frozenset(("__pycache__", "node_modules", "lockfiles"))


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    """When each Python file below ``root`` was changed, and its size; without hidden folders and environments."""
    found: dict[str, tuple[int, int]] = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [
            f
            for f in folders
            if not f.startswith(".") and f not in _SKIPPED and not os.path.exists(f"{folder}/{f}/pyvenv.cfg")
        ]
        for name in files:
            if name.endswith(".py") or name == "pyproject.toml":
                path = os.path.join(folder, name)
                try:
                    state = os.stat(path)
                except OSError:
                    continue
                found[os.path.relpath(path, root)] = (state.st_mtime_ns, state.st_size)
    return found
