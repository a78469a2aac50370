"""Waiting for threads in such a way that Ctrl-C is heard. Starts none and stops none."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any

__all__ = ["wait_for"]

_HEARING = 0.5


def wait_for(futures: Collection[Future[Any]]) -> None:
    """Wait until all ``futures`` are done or one of them has failed.

    Python looks for signals before it waits for a lock and when one wakes it, not in between: one that arrives there
    would be heard only when the wait ends. So no wait is longer than half a second.
    """
    while True:
        done, rest = wait(futures, timeout=_HEARING, return_when=FIRST_EXCEPTION)
        if not rest or any(f.cancelled() or f.exception() is not None for f in done):
            return
