"""Who hears of a run's actions: runtimes of the calls that they made, and those who follow one action.

Each hears all changes in their order, from when it began to listen, however slow it is. For one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from .journal import ActionRecord

__all__ = ["Audience"]


class Audience:
    """The listeners of one run."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[asyncio.Queue[ActionRecord | None]]] = {}
        self._followers: dict[str, set[asyncio.Queue[ActionRecord]]] = {}

    @contextmanager
    def of_calls(self, parent: str) -> Iterator[asyncio.Queue[ActionRecord | None]]:
        """Every change of an action that ``parent`` called, for the time of the block; ``None`` when it has ended."""
        queue: asyncio.Queue[ActionRecord | None] = asyncio.Queue()
        self._watchers.setdefault(parent, set()).add(queue)
        try:
            yield queue
        finally:
            self._watchers[parent].discard(queue)

    @contextmanager
    def of_action(self, name: str) -> Iterator[asyncio.Queue[ActionRecord]]:
        """Every change of one action, for the time of the block."""
        queue: asyncio.Queue[ActionRecord] = asyncio.Queue()
        self._followers.setdefault(name, set()).add(queue)
        try:
            yield queue
        finally:
            self._followers[name].discard(queue)

    def tell(self, record: ActionRecord) -> None:
        """Something of the action has changed."""
        # A child run is none of the calls that the runtime waits for.
        for watcher in self._watchers.get(record.parent if not record.run else "", ()):
            watcher.put_nowait(record)
        for follower in self._followers.get(record.name, ()):
            follower.put_nowait(record)

    def no_more_calls(self, parent: str) -> None:
        """The action ``parent`` has ended."""
        for watcher in self._watchers.get(parent, ()):
            watcher.put_nowait(None)
