"""The same thing for many items, several at a time, where the first failure calls off the rest. Knows no registry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ..kernel.waiting import wait_for

__all__ = ["CONNECTIONS", "Stopped", "each"]

CONNECTIONS = 8
"""Questions or transfers at a time: as many as the client keeps connections."""

T = TypeVar("T")
R = TypeVar("R")


class Stopped(Exception):
    """Called off, as another thread failed or the user interrupted."""


def each(function: Callable[[T], R], items: Collection[T], stop: threading.Event | None = None) -> list[R]:
    """``function`` of each of ``items``, in their order. Raises what failed first; ``stop`` is set then, too.

    What runs already ends by itself or by looking at ``stop``, and has ended when this returns or raises.
    """
    if len(items) <= 1:
        return [function(item) for item in items]
    stop = stop or threading.Event()
    with ThreadPoolExecutor(min(CONNECTIONS, len(items)), thread_name_prefix="registry") as pool:
        futures: list[Future[R]] = []
        try:
            # In here, as an interrupt may come between two of them.
            futures += [pool.submit(function, item) for item in items]
            wait_for(futures)
            _raise_first(futures)
        except BaseException as e:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(e, Exception):
                _raise_first(futures)
            # An interrupt is what happened; that the threads were called off followed from it.
            raise
        return [future.result() for future in futures]


def _raise_first(futures: list[Future[R]]) -> None:
    """Raise what the first failed future met, and not that others were called off because of it."""
    errors = [e for f in futures if f.done() and not f.cancelled() and (e := f.exception()) is not None]
    for error in sorted(errors, key=lambda e: isinstance(e, Stopped)):
        raise error
