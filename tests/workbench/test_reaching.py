"""Asking something of runs of this machine, and flyte-build as a wheel of itself."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from flyteidl2.core import literals_pb2

from flyte_build.kernel.errors import InputError, RunError
from flyte_build.kernel.paths import runs_dir
from flyte_build.store.locks import try_acquire
from flyte_build.submit.action import Phase
from flyte_build.submit.journal import ActionRecord
from flyte_build.submit.observer import Collector
from flyte_build.submit.storage import RunFolder, Storage
from flyte_build.workbench.own_wheel import own_wheel
from flyte_build.workbench.reaching import abort_run, signal_run
from flyte_build.workbench.tailing import tail


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunFolder]:
    """A run that waits for a condition, held by this process."""
    monkeypatch.setenv("FLYTE_BUILD_STATE", str(tmp_path))
    folder = Storage(runs_dir()).run("r1")
    folder.path.mkdir(parents=True)
    folder.facts.write_text(json.dumps({"name": "r1", "task": "t", "started": 1.0}))
    condition = ActionRecord("c1", "a0", "condition", task="approve", asks="bool", phase=Phase.PAUSED)
    entries = [ActionRecord("a0", task="t", phase=Phase.RUNNING), condition]
    folder.journal.write_text("".join(json.dumps({"action": a.to_json()}) + "\n" for a in entries))
    handle = try_acquire(folder.lock)
    assert handle is not None
    yield folder
    os.close(handle)


def requests(folder: RunFolder) -> list[dict[str, str]]:
    return [json.loads(p.read_text()) for p in sorted(folder.requests.iterdir())]


def test_a_condition_is_answered_by_its_name(running: RunFolder) -> None:
    assert signal_run("r", "approve", "true") == "c1"
    (request,) = requests(running)
    assert request["signal"] == "c1"
    literal = literals_pb2.Literal.FromString(bytes.fromhex(request["value"]))
    assert literal.scalar.primitive.boolean is True


def test_what_does_not_wait_and_what_is_no_value_is_said(running: RunFolder) -> None:
    with pytest.raises(RunError, match="run r1 waits for no condition `other`") as e:
        signal_run("r1", "other", "true")
    assert e.value.hint == "it waits for approve (bool)"
    with pytest.raises(InputError, match="the condition approve of run r1: expected true or false, found '7'"):
        signal_run("r1", "approve", "7")
    assert not running.requests.exists()


def test_a_run_is_asked_to_end_as_long_as_it_runs(running: RunFolder) -> None:
    assert abort_run("r1", Collector()).name == "r1"
    assert requests(running) == [{"abort": "asked for"}]


def test_one_that_was_killed_or_has_ended_is_not(running: RunFolder) -> None:
    running.lock.unlink()
    with pytest.raises(RunError, match="run r1 does not run"):
        abort_run("r1", Collector())
    with running.journal.open("a") as f:
        f.write(json.dumps({"run": {"phase": "succeeded", "ended": 2.0}}) + "\n")
    with pytest.raises(RunError, match="run r1 has ended: it succeeded"):
        abort_run("r1", Collector())


def test_a_log_is_told_as_it_grows_until_the_run_has_ended(running: RunFolder) -> None:
    log = running.log("a0", 1)
    log.parent.mkdir(parents=True)
    log.write_bytes(b"one\n")

    def grow(_: float) -> None:
        log.write_bytes(b"one\ntwo\n")
        running.lock.unlink()

    pieces = [(record.name, attempt, data) for record, attempt, data in tail("r1", None, None, grow)]
    assert pieces == [("a0", 1, b"one\n"), ("a0", 1, b"two\n")]
    with pytest.raises(RunError, match="no action `nobody`"):
        list(tail("r1", "nobody", None, grow))


def test_flyte_builds_own_wheel_is_the_same_for_the_same_files(tmp_path: Path) -> None:
    one, two = own_wheel(tmp_path / "1"), own_wheel(tmp_path / "2")
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as wheel:
        names = wheel.namelist()
        record = next(n for n in names if n.endswith("/RECORD"))
        listed = [line.split(",")[0] for line in wheel.read(record).decode().splitlines()]
    assert listed == names
    assert "flyte_build/submit/kubernetes/driver.py" in names
    assert not [n for n in names if n.endswith((".pyc", ".so"))]
