"""Runs of a storage that are looked at again and again: only what is new is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import obstore
import pytest
from obstore.store import MemoryStore

from flyte_build.kernel.errors import RunError
from flyte_build.submit.action import Phase
from flyte_build.submit.journal import ActionRecord
from flyte_build.submit.kubernetes import reading
from flyte_build.submit.kubernetes.live_runs import LiveRuns
from flyte_build.submit.kubernetes.mirror import Mirror
from tests.support.runs import Call, make_run, store_run

URL = "s3://bucket/base"


class Counted(Mirror):
    """Keeps which objects were asked for."""

    asked: ClassVar[list[str]] = []

    async def get(self, key: str, most: int = 0) -> bytes | None:
        self.asked.append(key)
        return await super().get(key)


@pytest.fixture
def mirror(tmp_path: Path) -> Counted:
    Counted.asked = []
    return Counted(URL, tmp_path / "mirror", MemoryStore())


def piece(mirror: Mirror, run: str, number: int, *entries: dict[str, Any]) -> None:
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    obstore.put(mirror.store, f"{run}/journal/000001-{number:06d}.jsonl", text.encode())


def test_a_run_that_goes_on_is_read_by_what_is_new(mirror: Counted) -> None:
    now = [100.0]
    runs = LiveRuns(mirror, clock=lambda: now[0])
    facts = {"schema": 1, "name": "r1", "task": "t", "started": 1.0}
    obstore.put(mirror.store, "r1/run.json", json.dumps(facts).encode())
    obstore.put(mirror.store, f"r1/{reading.ALIVE}", b"")
    piece(mirror, "r1", 1, {"action": ActionRecord("a0", task="t", phase=Phase.RUNNING, attempt=1).to_json()})
    assert runs.find("r").running
    mirror.asked.clear()
    assert runs.find("r1").phase is Phase.RUNNING
    assert mirror.asked == [], "who asks twice within a second gets one answer"
    now[0] += 5
    piece(mirror, "r1", 2, {"action": ActionRecord("a0", task="t", phase=Phase.SUCCEEDED).to_json()},
          {"run": {"phase": "succeeded", "ended": 9.0}})  # fmt: skip
    assert runs.find("r1").phase is Phase.SUCCEEDED
    assert mirror.asked == ["r1/journal/000001-000002.jsonl"]
    obstore.put(mirror.store, "r3/run.json", json.dumps({**facts, "name": "r3"}).encode())
    piece(mirror, "r3", 1, {"action": ActionRecord("a0", task="t", phase=Phase.RUNNING, attempt=1).to_json()})
    for _ in range(2):
        now[0] += 5
        assert runs.find("r3").phase is None, "nobody drives it, however often one looks"
    with pytest.raises(RunError, match="no run `r2`"):
        runs.find("r2")


def test_a_list_asks_once_for_what_has_ended(mirror: Counted, tmp_path: Path) -> None:
    now = [100.0]
    runs = LiveRuns(mirror, clock=lambda: now[0])
    assert runs.runs(10) == []
    for name in ("r1", "r2"):
        store_run(make_run(tmp_path / "here", [Call("a0")], name=name), mirror.store, URL)
    assert [run.name for run in runs.runs(10)] == ["r2", "r1"]
    now[0] += 5
    mirror.asked.clear()
    assert [run.name for run in runs.runs(1)] == ["r2"]
    assert mirror.asked == []


def test_one_actions_files_are_fetched_alone(mirror: Counted, tmp_path: Path) -> None:
    calls = [Call("a0", log="one\n", report="<h1>R</h1>"), Call("b", "a0", log="two\n")]
    store_run(make_run(tmp_path / "here", calls), mirror.store, URL)
    runs = LiveRuns(mirror)
    run = runs.find("r2026")
    record = runs.files(run, run.actions[0])
    assert Path(record.report).read_text() == "<h1>R</h1>"
    assert [p.parent.name for p in sorted(mirror.runs.rglob("*.log"))] == ["a0"]
