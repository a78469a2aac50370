"""``doctor``: this machine, the places that bytes come from, and a project, looked at; each fault with its way out.

Never changes anything, and never stops at the first fault: every check is a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .lines import Line, worst
from .machine import of_machine
from .places import of_places
from .project import of_project

__all__ = ["Line", "check_up", "worst"]


def check_up(file: Path | None, root: Path | None = None, lockfiles: Path | None = None) -> Iterator[Line]:
    """Every line, as it is found. ``file``: the user's (default: the settings'; without either there is no project)."""
    yield from of_machine()
    yield from of_places(root or (file.absolute().parent if file is not None else Path.cwd()))
    yield from of_project(file, root, lockfiles)
