"""A lock as pip's hashed ``requirements.txt``: for pip, pip-tools, uv, and Bazel's rules_python.

Every wheel by name, version and SHA-256, so that ``pip install --require-hashes -r`` takes these bytes or none, from
whatever index its own configuration names: there is no index, no URL and no option in the file (law 1). The format is
the one of pip's documentation, "Requirements File Format" and "Secure installs". Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from ..kernel.canonical import Json
from ..locks.nouns import Lock
from .rows import rows

__all__ = ["local_wheels", "requirements_text"]


def requirements_text(lock: Lock, platforms: Sequence[str]) -> str:
    """The file's text: the same for the same lock, whatever the machine."""
    lines = [
        f"# The wheels of {lock.environment}, for Python {lock.python} on {' and '.join(platforms)}.",
        "# Written by `flyte-build export requirements` from its lock: change that, not this.",
    ]
    own = local_wheels(lock)
    for row in rows(lock, platforms):
        files = [w.file for w in row.wheels if w.file in own]
        if files:
            lines.append(f"# {', '.join(files)}: no index has it; name its folder with pip's --find-links")
        marker = f" ; {row.marker}" if row.marker else ""
        hashes = [f"    --hash=sha256:{sha256}" for sha256 in sorted(w.sha256 for w in row.wheels)]
        lines.append(" \\\n".join([f"{row.name}=={row.version}{marker}", *hashes]))
    return "\n".join(lines) + "\n"


def local_wheels(lock: Lock) -> dict[str, str]:
    """File name → path relative to the project, of the wheels that the recipe takes from files and no index."""
    steps = cast("list[dict[str, Json]]", cast("dict[str, Json]", lock.recipe).get("steps") or [])
    paths = [str(path) for step in steps for path in cast("list[Json]", step.get("wheels") or [])]
    return {path.rpartition("/")[2]: path for path in paths}
