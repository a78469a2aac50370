"""Outcomes that need no computing: of the run that is resumed, and of the task cache.

Flyte's action ids and cache keys say nothing of images or of the code bundle, so both are compared here: an outcome
made by another image or by other code is never reused. Neither is one whose files are gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from time import time

from .action import OUTPUTS, REPORT, Phase
from .cache import TaskCache, intact, key, stored_outputs
from .journal import ActionRecord
from .observer import Observer
from .seen import Seen
from .storage import Storage
from .template import Task

__all__ = ["Reuse"]


@dataclass(frozen=True, slots=True)
class Reuse:
    """``previous`` are the actions of the resumed run by name; with ``refresh`` the cache is written, not read.
    ``seen`` shows tasks what is reused of other runs."""

    storage: Storage
    cache: TaskCache
    observer: Observer
    previous: Mapping[str, ActionRecord]
    refresh: bool = False
    seen: Seen | None = None

    def entry(self, record: ActionRecord, cache_key: str) -> str:
        """The task cache's name for this invocation."""
        return key(cache_key, record.image, record.bundle)

    def alone(self, task: Task, entry: str) -> AbstractAsyncContextManager[None]:
        """Where the task asks for it, only one computation of an entry at a time."""
        return self.cache.alone(entry) if entry and task.cache_serializable else nullcontext()

    async def resumed(self, record: ActionRecord, task: Task) -> ActionRecord | None:
        """The outcome of the same action in the resumed run."""
        before = self.previous.get(record.name)
        if before is None or before.kind != "task" or not _same(before, record):
            return None
        if task.has_outputs and not await asyncio.to_thread(intact, before.output_uri, self.storage):
            return None
        return await asyncio.to_thread(self._reused, record, before.output_uri, "resume")

    async def cached(self, record: ActionRecord, task: Task, entry: str) -> ActionRecord | None:
        """The outcome of an equal call in any run."""
        if not entry or self.refresh:
            return None
        uri = await asyncio.to_thread(self.cache.find, entry, has_outputs=task.has_outputs, max_age=task.cache_max_age)
        return None if uri is None else await asyncio.to_thread(self._reused, record, uri, "cache")

    async def remember(self, record: ActionRecord, entry: str) -> None:
        """Keep a success for later runs. A cache that cannot be written costs time only, so it is only said."""
        if entry and record.phase is Phase.SUCCEEDED:
            try:
                await asyncio.to_thread(self.cache.put, entry, record.output_uri)
            except OSError as e:
                self.observer.warn(f"the task cache cannot be written: {e}")

    def traces(self, parent: ActionRecord, known: Container[str]) -> list[ActionRecord]:
        """Traces of ``parent`` in the resumed run: the runtime looks for them before it calls the function."""
        return [
            before
            for before in self.previous.values()
            if before.kind == "trace"
            and before.parent == parent.name
            and before.name not in known
            and _same(before, parent)
            and (not before.output_uri or self._exists(before.output_uri))
        ]

    def show(self, document: str) -> None:
        """Let tasks of this run see the outputs in ``document`` (a URI), and what they refer to."""
        if self.seen is not None and document:
            self.seen.show([document])
            found = stored_outputs(document, self.storage)
            if found is not None:
                self.seen.show_message(found)

    def _reused(self, record: ActionRecord, uri: str, source: str) -> ActionRecord:
        self.show(f"{uri}/{OUTPUTS}" if uri else "")
        report = self.storage.path(uri) / REPORT if uri else None
        shown = str(report) if report is not None and report.is_file() else ""
        return record.replace(phase=Phase.SUCCEEDED, output_uri=uri, source=source, report=shown, started=time())

    def _exists(self, uri: str) -> bool:
        try:
            return self.storage.path(uri).exists()
        except ValueError:
            return False


def _same(before: ActionRecord, now: ActionRecord) -> bool:
    return before.phase is Phase.SUCCEEDED and (before.image, before.bundle) == (now.image, now.bundle)
