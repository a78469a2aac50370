"""What the page of a run shows, fetched from object storage: inputs, outputs, reports and logs of its actions.

Only reads there; the files lie in the mirror's folder of this machine, as those of a run here do. What is too large to
be shown is left where it is.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from .. import door
from ..action import OUTPUTS
from ..history import Run
from ..journal import ActionRecord
from ..storage import Storage
from .mirror import Mirror
from .reading import fetch_logs

__all__ = ["fetch_action", "fetch_page"]

# As the page has it, bytes of one value and of one report.
_VALUES, _REPORT = 4 << 20, 2 << 20
_AT_ONCE = 16


async def fetch_page(mirror: Mirror, run: Run) -> Run:
    """The run, with all that its page shows on this machine. Raises ``RunError`` where the storage cannot be read."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def here(record: ActionRecord) -> ActionRecord:
        async with slots:
            return await _values(mirror, run, record)

    await fetch_logs(mirror, run)
    return replace(run, actions=tuple(await asyncio.gather(*map(here, run.actions))))


async def fetch_action(mirror: Mirror, run: Run, record: ActionRecord) -> ActionRecord:
    """The record of one action of ``run``, with all that a page shows of it on this machine. Raises as above."""
    await fetch_logs(mirror, run, record.name)
    return await _values(mirror, run, record)


async def _values(mirror: Mirror, run: Run, record: ActionRecord) -> ActionRecord:
    storage = Storage(mirror.runs, mirror.url)

    async def fetched(path: Path, most: int) -> bool:
        try:
            return await mirror.down(path, most)
        except door.Refused:
            return False

    await fetched(storage.run(run.name).inputs(record.name), _VALUES)
    if (outputs := _place(storage, f"{record.output_uri}/{OUTPUTS}" if record.output_uri else "")) is not None:
        await fetched(outputs, _VALUES)
    report = _place(storage, record.report)
    there = report is not None and await fetched(report, _REPORT)
    return record.replace(report=str(report) if there else "")


def _place(storage: Storage, uri: str) -> Path | None:
    """Where on this machine an object is to lie; ``None`` for what lies elsewhere than in the runs' storage."""
    try:
        return storage.path(uri) if uri else None
    except ValueError:
        return None
