"""A journal in the storage leaves nobody waiting."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from flyte_build.submit.kubernetes.mirror import Mirror
from flyte_build.submit.kubernetes.stored_journal import StoredJournal


def test_who_waits_for_a_line_that_cannot_be_stored_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def put(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of another kind")

    monkeypatch.setattr(Mirror, "put", put)

    async def write(journal: StoredJournal) -> None:
        async with asyncio.timeout(60):
            await journal.append({"a": 1})

    journal = StoredJournal(
        tmp_path / "journal.jsonl", Mirror("s3://bucket/base", tmp_path / "runs", MemoryStore()), "r", 1
    )
    with pytest.raises(OSError, match="of another kind"):
        asyncio.run(write(journal))
    journal._file.close()
    with pytest.raises(OSError, match="the journal is closed"):
        asyncio.run(write(journal))
