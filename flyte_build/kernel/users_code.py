"""When the user's own code runs in this process: while a file of theirs is imported, and what it made is read.

Told as audit events (PEP 578), so that whoever watches need not be known to whoever imports; never a place for rules.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["BEGINS", "ENDS", "running"]

BEGINS, ENDS = "flyte_build.users_code.begins", "flyte_build.users_code.ends"


@contextmanager
def running() -> Iterator[None]:
    """The block runs code of the user's own; blocks may lie in each other."""
    sys.audit(BEGINS)
    try:
        yield
    finally:
        sys.audit(ENDS)
