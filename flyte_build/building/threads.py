"""A few threads that do what they are given. ``concurrent.futures`` loads a log to do so, and a small layer is made in
the time that this takes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

__all__ = ["Threads"]


class Threads:
    """At most ``most`` threads, which do what they are given in its order."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._given: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._running: list[threading.Thread] = []

    def submit(self, work: Callable[[], None]) -> None:
        """Do ``work``, which raises nothing, as soon as a thread is free."""
        self._given.put(work)
        if len(self._running) < self._most:
            thread = threading.Thread(target=self._run, name=f"assemble_{len(self._running)}")
            self._running.append(thread)
            thread.start()

    def close(self) -> None:
        """Leave out what was not begun, and wait for what was."""
        with suppress(Empty):
            while True:
                self._given.get_nowait()
        for _ in self._running:
            self._given.put(None)
        for thread in self._running:
            thread.join()

    def _run(self) -> None:
        while (work := self._given.get()) is not None:
            work()
