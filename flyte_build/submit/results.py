"""Where earlier outcomes are kept, as the engine asks for them: whether they are still whole, and how tasks see them.

Here runs lie in a folder of this machine; those of a cluster are in object storage (``kubernetes.results``).
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from .action import REPORT
from .cache import TaskCache, intact, stored_outputs
from .seen import Seen
from .storage import Storage

__all__ = ["LocalResults", "Results"]


class Results(Protocol):
    """Outcomes by the URI of their folder, as tasks are told it."""

    async def find(self, entry: str, *, has_outputs: bool, max_age: float | None) -> str | None:
        """The folder of the outputs that the task cache has under ``entry``; ``max_age`` in seconds."""

    async def put(self, entry: str, uri: str) -> None:
        """Keep it under ``entry``; the newest wins. Raises OSError or a :class:`FlyteBuildError`."""

    def alone(self, entry: str) -> AbstractAsyncContextManager[None]:
        """Only one computation of the entry at a time."""

    async def intact(self, uri: str) -> bool:
        """Whether the outputs in the folder are there, and every file that they lead to."""

    async def has(self, document: str) -> bool:
        """Whether there is such a document."""

    async def show(self, document: str) -> None:
        """Let this run's tasks see the outputs in ``document``, and what they refer to."""

    async def report(self, uri: str) -> str:
        """Where the report is that lies beside the outputs; empty where there is none."""


class LocalResults:
    """Those of ``storage``. ``seen`` shows tasks what is reused of other runs."""

    def __init__(self, storage: Storage, cache: TaskCache, seen: Seen | None = None) -> None:
        self._storage = storage
        self._cache = cache
        self._seen = seen

    async def find(self, entry: str, *, has_outputs: bool, max_age: float | None) -> str | None:
        return await asyncio.to_thread(self._cache.find, entry, has_outputs=has_outputs, max_age=max_age)

    async def put(self, entry: str, uri: str) -> None:
        await asyncio.to_thread(self._cache.put, entry, uri)

    def alone(self, entry: str) -> AbstractAsyncContextManager[None]:
        return self._cache.alone(entry)

    async def intact(self, uri: str) -> bool:
        return await asyncio.to_thread(intact, uri, self._storage)

    async def has(self, document: str) -> bool:
        try:
            return self._storage.path(document).exists()
        except ValueError:
            return False

    async def show(self, document: str) -> None:
        if self._seen is not None:
            await asyncio.to_thread(self._show, self._seen, document)

    def _show(self, seen: Seen, document: str) -> None:
        seen.show([document])
        found = stored_outputs(document, self._storage)
        if found is not None:
            seen.show_message(found)

    async def report(self, uri: str) -> str:
        report = self._storage.path(uri) / REPORT
        return str(report) if report.is_file() else ""
