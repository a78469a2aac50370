"""An event loop of a run's own, also where one is running already (a notebook, an async program)."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

__all__ = ["run_apart", "seldom_collected"]

T = TypeVar("T")


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``; in a thread of its own where this thread runs a loop already, which then waits.

    An interrupt of this thread cancels the work, as ``asyncio.run`` does, and goes on when it has ended.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    value: T = _Apart(work).result()
    return value


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Look for garbage less often meanwhile, and not in what was there before: with thousands of actions that is a
    tenth of all that an engine does, and it finds next to nothing. Afterwards the collector is as it was."""
    thresholds, own = gc.get_threshold(), gc.isenabled() and gc.get_freeze_count() == 0
    if own:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
    try:
        yield
    finally:
        if own:
            gc.set_threshold(*thresholds)
            gc.unfreeze()


class _Apart:
    """One piece of work in a thread."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._value: Any = None
        self._error: BaseException | None = None
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._thread = threading.Thread(target=self._run, name="flyte-build run", daemon=True)

    def result(self) -> Any:
        self._thread.start()
        try:
            self._thread.join()
        except BaseException:
            self._started.wait()
            if self._loop is not None and self._task is not None:
                with suppress(RuntimeError):  # it ended by itself meanwhile
                    self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join()
            raise
        if self._error is not None:
            raise self._error
        return self._value

    def _run(self) -> None:
        try:
            self._value = asyncio.run(self._begun())
        except BaseException as e:
            self._error = e
        finally:
            self._started.set()

    async def _begun(self) -> Any:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._started.set()
        return await self._work
