"""When the project is read in this process: its file imported, what that made looked at, and its sources by the checks;
and within that, when the user's own code runs.

Told as audit events (PEP 578), so that whoever watches need not be known to whoever imports; never a place for rules.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ASKS", "BEGINS", "ENDS", "READS", "asking", "reading", "running"]

BEGINS, ENDS = "flyte_build.users_code.begins", "flyte_build.users_code.ends"
READS, ASKS = "flyte_build.project.reads", "flyte_build.project.asks"


@contextmanager
def running() -> Iterator[None]:
    """The block runs code of the user's own; blocks may lie in each other."""
    sys.audit(BEGINS)
    try:
        yield
    finally:
        sys.audit(ENDS)


@contextmanager
def reading() -> Iterator[None]:
    """The block reads the project, or judges it; blocks may lie in each other."""
    sys.audit(READS, 1)
    try:
        yield
    finally:
        sys.audit(READS, -1)


@contextmanager
def asking() -> Iterator[None]:
    """The block asks others what no answer changes: an index, a cache or the store what a wheel has. How they are found
    is no part of the project either, though it is asked while that is judged."""
    sys.audit(ASKS, 1)
    try:
        yield
    finally:
        sys.audit(ASKS, -1)
