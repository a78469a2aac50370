"""Threads, and waiting for them in such a way that Ctrl-C is heard. Stops none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any, TypeVar

__all__ = ["beside", "wait_for"]

T = TypeVar("T")

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


def beside(work: Callable[[], T]) -> Future[T]:
    """What ``work`` gives or raises, in a thread that keeps nobody from leaving: an interrupt does not wait for it."""
    found: Future[T] = Future()

    def run() -> None:
        try:
            found.set_result(work())
        except BaseException as e:
            found.set_exception(e)

    threading.Thread(target=run, name="beside", daemon=True).start()
    return found
