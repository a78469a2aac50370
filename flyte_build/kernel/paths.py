"""Where things lie on this machine: the cache, the state, and the project's own folders.

``$FLYTE_BUILD_CACHE`` and ``$FLYTE_BUILD_STATE`` win; otherwise the platform's own folders
(XDG on Linux). The cache can be deleted at any time and costs only time; the state (runs) cannot.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_dir", "runs_dir", "shown", "state_dir", "targets_dir", "tasks_dir"]


def _from(variable: str, otherwise: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        import platformdirs

        value = str(getattr(platformdirs, otherwise)("flyte-build"))
    return Path(value).expanduser().absolute()


def cache_dir() -> Path:
    """The store's folder; not created here."""
    return _from("FLYTE_BUILD_CACHE", "user_cache_dir")


def state_dir() -> Path:
    """The folder of what must outlive a cache clean: runs, and deployed tasks."""
    return _from("FLYTE_BUILD_STATE", "user_state_dir")


def targets_dir() -> Path:
    """What this machine holds of runs elsewhere: a folder for each storage."""
    return state_dir() / "targets"


def tasks_dir() -> Path:
    """The folder of the tasks that were deployed to this machine."""
    return state_dir() / "tasks"


def runs_dir() -> Path:
    """The one folder of all runs; a run is ``runs_dir()/<run name>``."""
    return state_dir() / "runs"


def shown(path: Path) -> str:
    """``path`` as one would type it here: relative, unless it is more than one folder up."""
    try:
        here = os.path.relpath(path)
    except OSError:  # the current folder is gone
        return str(path)
    return str(path) if here.startswith("../..") else here
