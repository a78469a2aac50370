"""Outcomes that need no computing: of the run that is resumed, and of the task cache.

Flyte's action ids and cache keys say nothing of images or of the code bundle, so both are compared here: an outcome
made by another image or by other code is never reused. Neither is one whose files are gone.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from time import time

from ..kernel.errors import FlyteBuildError
from ..kernel.values import dataclass
from .action import OUTPUTS, Phase
from .cache import key
from .cache_keys import of_code
from .journal import ActionRecord
from .observer import Observer
from .results import Results
from .template import Task

__all__ = ["Reuse"]


@dataclass(frozen=True, slots=True)
class Reuse:
    """``previous`` are the actions of the resumed run by name; with ``refresh`` the cache is written, not read."""

    results: Results
    observer: Observer
    previous: Mapping[str, ActionRecord]
    refresh: bool = False

    def entry(self, record: ActionRecord, task: Task, cache_key: str) -> str:
        """The task cache's name for this invocation; empty where it is not cached.

        A version that a person gave says itself when the code is another, and holds over edits; one that the SDK made
        of a function's body knows nothing of what that calls. Code that this run does not know counts for none.
        """
        by_hand = not of_code(task.cache_version)
        if not cache_key or not (by_hand or record.bundle):
            return ""
        return key(cache_key, record.image, "" if by_hand else record.bundle)

    def alone(self, task: Task, entry: str) -> AbstractAsyncContextManager[None]:
        """Where the task asks for it, only one computation of an entry at a time."""
        return self.results.alone(entry) if entry and task.cache_serializable else nullcontext()

    async def resumed(self, record: ActionRecord, task: Task) -> ActionRecord | None:
        """The outcome of the same action in the resumed run."""
        before = self.previous.get(record.name)
        if before is None or before.kind != "task" or not _same(before, record):
            return None
        if task.has_outputs and not await self.results.intact(before.output_uri):
            return None
        return await self._reused(record, before.output_uri, "resume")

    async def cached(self, record: ActionRecord, task: Task, entry: str, refresh: bool = False) -> ActionRecord | None:
        """The outcome of an equal call in any run, unless it is to be computed anew (``refresh``)."""
        if not entry or refresh or self.refresh:
            return None
        uri = await self.results.find(entry, has_outputs=task.has_outputs, max_age=task.cache_max_age)
        return None if uri is None else await self._reused(record, uri, "cache")

    async def remember(self, record: ActionRecord, entry: str) -> None:
        """Keep a success for later runs. A cache that cannot be written costs time only, so it is only said."""
        if entry and record.phase is Phase.SUCCEEDED:
            try:
                await self.results.put(entry, record.output_uri)
            except (OSError, FlyteBuildError) as e:
                self.observer.warn(f"the task cache cannot be written: {e}")

    async def traces(self, parent: ActionRecord, known: Container[str]) -> list[ActionRecord]:
        """Traces of ``parent`` in the resumed run: the runtime looks for them before it calls the function."""
        return [
            before
            for before in self.previous.values()
            if before.kind == "trace"
            and before.parent == parent.name
            and before.name not in known
            and _same(before, parent)
            and (not before.output_uri or await self.results.has(before.output_uri))
        ]

    async def show(self, document: str) -> None:
        """Let tasks of this run see the outputs in ``document`` (a URI), and what they refer to."""
        if document:
            await self.results.show(document)

    async def _reused(self, record: ActionRecord, uri: str, source: str) -> ActionRecord:
        await self.show(f"{uri}/{OUTPUTS}" if uri else "")
        shown = await self.results.report(uri) if uri else ""
        return record.replace(phase=Phase.SUCCEEDED, output_uri=uri, source=source, report=shown, started=time())


def _same(before: ActionRecord, now: ActionRecord) -> bool:
    same = (before.image, before.bundle) == (now.image, now.bundle)
    return before.phase is Phase.SUCCEEDED and same and bool(now.bundle)
