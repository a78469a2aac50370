"""The two constraints on calls between environments, checked before anything is built.

``check`` gives findings; ``Contents`` tells it which modules a locked wheel has. Nothing here runs a task, and nothing
needs the tasks' dependencies to be installed.
"""

from __future__ import annotations

from .rules.constraints import check
from .rules.findings import CODES, Finding
from .wheels.contents import Contents

__all__ = ["CODES", "Contents", "Finding", "check"]
