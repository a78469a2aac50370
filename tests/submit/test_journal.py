"""What happened, written down so that a crash loses nothing that was told."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.kernel.errors import RunError
from flyte_build.store.locks import held
from flyte_build.submit.action import ErrorInfo, Phase
from flyte_build.submit.history import find_logs, list_runs, read_run
from flyte_build.submit.journal import ActionRecord, Journal, read_journal
from flyte_build.submit.storage import Storage


@given(
    st.builds(
        ActionRecord,
        name=st.text(min_size=1),
        parent=st.text(),
        group=st.text(),
        phase=st.sampled_from(Phase),
        attempt=st.integers(0, 100),
        started=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        error=st.none() | st.builds(ErrorInfo, st.text(), st.text(), st.sampled_from(["user", "system"])),
    )
)
def test_a_record_survives_the_journal(record: ActionRecord) -> None:
    assert ActionRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_a_field_from_the_future_is_passed_over() -> None:
    assert ActionRecord.from_json({"name": "a0", "phase": "running", "colour": "red"}).phase is Phase.RUNNING


def write(path: Path, *records: ActionRecord) -> None:
    async def go() -> None:
        journal = Journal(path)
        for record in records:
            await journal.action(record)
        journal.close()

    asyncio.run(go())


def test_a_torn_last_line_is_passed_over_and_the_next_run_goes_on_after_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, ActionRecord("a0"), ActionRecord("b"))
    os.truncate(path, path.stat().st_size - 9)
    assert [e["action"]["name"] for e in read_journal(path)] == ["a0"]
    write(path, ActionRecord("c"))
    assert [e["action"]["name"] for e in read_journal(path)] == ["a0", "c"]


def test_a_line_changed_by_hand_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, ActionRecord("a0"), ActionRecord("b"), ActionRecord("c"))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "{oops}", lines[2], ""]))
    with pytest.raises(RunError, match=r"journal.jsonl:2: expected a JSON object"):
        list(read_journal(path))


def test_there_is_nothing_before_the_first_line(tmp_path: Path) -> None:
    assert list(read_journal(tmp_path / "none")) == []


def make_run(runs: Path, name: str, started: float, *records: ActionRecord, end: str | None = None) -> None:
    folder = Storage(runs).run(name)
    folder.path.mkdir(parents=True)
    folder.facts.write_text(json.dumps({"name": name, "task": f"{name}.main", "started": started}))
    write(folder.journal, *records)
    if end is not None:
        with open(folder.journal, "a") as f:
            f.write(json.dumps({"run": {"phase": end, "ended": 9.0}}) + "\n")
    for record in records:
        for attempt in range(1, record.attempt + 1):
            log = folder.log(record.name, attempt)
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(f"{record.name} {attempt}")


def test_runs_are_listed_newest_first_with_their_end(tmp_path: Path) -> None:
    error = ErrorInfo("ValueError", "no")
    make_run(tmp_path, "old", 1.0, ActionRecord("a0", error=error), end="failed")
    make_run(tmp_path, "killed", 2.0, ActionRecord("a0", phase=Phase.RUNNING))
    make_run(tmp_path, "alive", 3.0, ActionRecord("a0"))
    (tmp_path / "no-run").mkdir()
    with held(tmp_path / "alive" / "lock"):
        runs = list_runs(tmp_path)
    assert [(r.name, r.phase, r.running) for r in runs] == [
        ("alive", Phase.RUNNING, True),
        ("killed", None, False),
        ("old", Phase.FAILED, False),
    ]
    assert runs[2].error == error
    assert runs[2].ended == 9.0
    assert list_runs(tmp_path / "nowhere") == []


def test_a_run_is_found_by_the_beginning_of_its_name(tmp_path: Path) -> None:
    make_run(tmp_path, "r1-aa", 1.0)
    make_run(tmp_path, "r1-ab", 2.0)
    assert read_run(tmp_path, "r1-aa").name == read_run(tmp_path, "r1-aa"[:5]).name == "r1-aa"
    with pytest.raises(RunError, match="the beginning of several runs: r1-aa, r1-ab"):
        read_run(tmp_path, "r1")
    for name in ("r2", "../r1-aa", ""):
        with pytest.raises(RunError):
            read_run(tmp_path / "nothing", name)


def test_logs_are_found_by_action_by_task_and_in_the_order_of_attempts(tmp_path: Path) -> None:
    records = (
        ActionRecord("a0", task="env.main", attempt=1),
        ActionRecord("abc", task="env.leaf", attempt=11),
        ActionRecord("abd", task="env.leaf", attempt=1),
    )
    make_run(tmp_path, "run", 1.0, *records)
    run = read_run(tmp_path, "run")
    assert [p.stem for _, p in find_logs(run, "abc")] == [str(n) for n in range(1, 12)]
    assert {r.name for r, _ in find_logs(run, "leaf")} == {"abc", "abd"}
    assert {r.name for r, _ in find_logs(run, "env.main")} == {"a0"}
    assert {r.name for r, _ in find_logs(run, "abd")} == {"abd"}
    assert len(find_logs(run)) == 13
    with pytest.raises(RunError, match="has no action `ab`") as caught:
        find_logs(run, "ab")
    assert "abc (env.leaf)" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "uri",
    ["/etc/passwd", "/mnt/flyte/runs/../../etc", "/mnt/flyte/runsx/a", "s3://bucket/x", "/mnt/flyte/runs/run/link/x"],
)
def test_a_uri_never_leads_out_of_the_runs(tmp_path: Path, uri: str) -> None:
    (tmp_path / "runs" / "run").mkdir(parents=True)
    (tmp_path / "runs" / "run" / "link").symlink_to("/etc")
    with pytest.raises(ValueError):
        Storage(tmp_path / "runs").path(uri)


def test_uris_and_paths_are_each_others_inverse(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    path = storage.run("r").attempt("a0", 2)
    assert storage.uri(path) == "/mnt/flyte/runs/r/meta/a0/2"
    assert storage.path(storage.uri(path)) == storage.path("file://" + storage.uri(path)) == path


@pytest.mark.parametrize(
    "attempts",
    [7, [7], [{"number": "1", "started": 1.0, "ended": 2.0, "phase": "failed"}],
     [{"number": 1, "started": 1.0, "ended": 2.0, "phase": "odd"}], [{"number": 1, "started": 1.0, "phase": "failed"}]],
)  # fmt: skip
def test_attempts_that_are_none_are_refused(attempts: object) -> None:
    with pytest.raises(RunError, match="record of an action is none"):
        ActionRecord.from_json({"name": "a0", "attempts": attempts})


def test_who_waits_for_a_line_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal._file.close()

    async def write() -> None:
        async with asyncio.timeout(60):
            await journal.append({"a": 1}, durable=True)

    with pytest.raises(ValueError, match="closed file"):
        asyncio.run(write())


def test_lines_that_nobody_waits_for_are_written_soon_and_before_those_after_them(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"

    async def write() -> list[list[str]]:
        journal = Journal(path)
        found = []
        for name, phase in (("a", Phase.QUEUED), ("a", Phase.RUNNING), ("b", Phase.QUEUED), ("a", Phase.SUCCEEDED)):
            await journal.action(ActionRecord(name, phase=phase))
        found.append([e["action"]["name"] for e in read_journal(path)])
        await journal.action(ActionRecord("b", phase=Phase.RUNNING))
        async with asyncio.timeout(60):
            while len(list(read_journal(path))) < 5:
                await asyncio.sleep(0.01)
        await journal.action(ActionRecord("c"))
        journal.close()
        found.append([e["action"]["name"] for e in read_journal(path)])
        return found

    assert asyncio.run(write()) == [["a", "a", "b", "a"], ["a", "a", "b", "a", "b", "c"]]


def test_who_waits_next_is_told_of_a_line_that_was_lost(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    whole, journal._file = journal._file, open(os.devnull, "rb", buffering=0)  # noqa: SIM115 (of this test)

    async def write() -> None:
        await journal.append({"a": 1})
        async with asyncio.timeout(60):
            while journal._failure is None:
                await asyncio.sleep(0.01)
        journal._file = whole
        await journal.append({"b": 2}, durable=True)

    with pytest.raises(OSError):
        asyncio.run(write())
