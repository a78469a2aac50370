"""The two constraints on calls between environments, checked before anything is built.

``check`` gives findings; ``Contents`` tells it which modules a locked wheel has. Nothing here runs a task, and nothing
needs the tasks' dependencies to be installed.
"""

from __future__ import annotations

from .constraints import check
from .contents import Contents
from .findings import CODES, Finding

__all__ = ["CODES", "Contents", "Finding", "check"]
