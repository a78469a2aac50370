"""A run that resumes one that resumed one: what succeeded in any of them is known in the last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import RunError
from flyte_build.submit.action import Phase
from flyte_build.submit.history import outcomes, read_chain, read_run
from flyte_build.submit.journal import ActionRecord

DONE, QUEUED, RUNNING, FAILED = Phase.SUCCEEDED, Phase.QUEUED, Phase.RUNNING, Phase.FAILED


def killed(runs: Path, name: str, resume: str | None, **phases: Phase) -> None:
    """A run as it lies there after its process was killed."""
    folder = runs / name
    folder.mkdir(parents=True)
    facts: dict[str, Any] = {"schema": 1, "name": name, "started": 1.0, "resume": resume}
    (folder / "run.json").write_text(json.dumps(facts))
    rows = [ActionRecord(action, phase=phase, output_uri=f"/{name}/{action}") for action, phase in phases.items()]
    lines = [json.dumps({"action": row.to_json()}) for row in rows]
    (folder / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines) + '{"action": {"na')


def known(runs: Path, name: str) -> tuple[dict[str, str], list[str]]:
    """Where each action's success is, in what order runs are read, and what was said."""
    said: list[str] = []
    found = outcomes(read_chain(runs, name, said.append))
    return {a.name: a.output_uri for a in found.values() if a.phase is DONE}, said


def test_what_a_killed_resumption_did_not_come_to_is_still_known(tmp_path: Path) -> None:
    killed(tmp_path, "a", None, a0=RUNNING, one=DONE, two=DONE, three=RUNNING)
    killed(tmp_path, "b", "a", a0=RUNNING, one=QUEUED, four=DONE)
    found, said = known(tmp_path, "b")
    assert found == {"one": "/a/one", "two": "/a/two", "four": "/b/four"}
    assert said == []
    assert outcomes(read_chain(tmp_path, "b", said.append))["three"].phase is RUNNING


def test_the_newest_success_counts(tmp_path: Path) -> None:
    killed(tmp_path, "a", None, one=DONE, two=DONE, three=FAILED)
    killed(tmp_path, "b", "a", one=DONE, two=FAILED, three=DONE)
    killed(tmp_path, "c", "b", one=RUNNING)
    assert known(tmp_path, "c")[0] == {"one": "/b/one", "two": "/a/two", "three": "/b/three"}


def test_a_run_that_was_resumed_in_its_place_keeps_its_successes(tmp_path: Path) -> None:
    """The journal says `queued` of an action before it is found to have been done already; a kill may come between."""
    killed(tmp_path, "a", None, one=DONE, two=DONE, three=DONE)
    journal = tmp_path / "a" / "journal.jsonl"
    later = [
        ActionRecord("one", phase=QUEUED),
        ActionRecord("two", phase=FAILED),
        ActionRecord("three", phase=DONE, output_uri="/a/three/2"),
        ActionRecord("four", phase=RUNNING),
    ]
    lines = "".join(f"{json.dumps({'action': row.to_json()})}\n" for row in later)
    journal.write_text(f"{journal.read_text()}\n{lines}")
    found = {"one": "/a/one", "two": "/a/two", "three": "/a/three/2"}
    assert known(tmp_path, "a")[0] == found
    assert {a.name: a.phase for a in read_run(tmp_path, "a").actions} == {
        "one": QUEUED, "two": FAILED, "three": DONE, "four": RUNNING,
    }  # fmt: skip
    killed(tmp_path, "b", "a", two=DONE)
    assert known(tmp_path, "b")[0] == {**found, "two": "/b/two"}


def test_a_chain_of_eight(tmp_path: Path) -> None:
    for number in range(8):
        killed(tmp_path, f"r{number}", f"r{number - 1}" if number else None, **{f"action{number}": DONE, "a0": RUNNING})
    assert known(tmp_path, "r7")[0] == {f"action{n}": f"/r{n}/action{n}" for n in range(8)}
    assert [run.name for run in read_chain(tmp_path, "r7", print)] == [f"r{n}" for n in range(7, -1, -1)]


def test_a_run_that_is_gone_ends_the_chain_and_it_is_said(tmp_path: Path) -> None:
    killed(tmp_path, "b", "a", one=DONE)
    killed(tmp_path, "c", "b", two=DONE)
    found, said = known(tmp_path, "c")
    assert found == {"one": "/b/one", "two": "/c/two"}
    assert said == [f"run b resumed a, whose successes are not reused: no run `a` in {tmp_path}"]
    with pytest.raises(RunError, match="no run `a`"):
        known(tmp_path, "a")


@pytest.mark.parametrize("first", ["a", "b", "c"])
def test_a_circle_ends(tmp_path: Path, first: str) -> None:
    """No run of ours makes one; a folder that was renamed may."""
    killed(tmp_path, "a", first, one=DONE)
    killed(tmp_path, "b", "a", two=DONE)
    killed(tmp_path, "c", "b", three=DONE)
    found, said = known(tmp_path, "c")
    assert found == {"one": "/a/one", "two": "/b/two", "three": "/c/three"}
    assert said == []


@pytest.mark.parametrize("facts", ["[]", "3", '{"started": "now"}', '{"a": ' + "[" * 20_000 + "]" * 20_000 + "}"])
def test_facts_that_are_none_are_told(tmp_path: Path, facts: str) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r/run.json").write_text(facts)
    with pytest.raises(RunError, match=r"run\.json: cannot be read: "):
        read_run(tmp_path, "r")


@pytest.mark.parametrize("end", ["3", '{"phase": "over"}', '{"phase": []}', '{"ended": 1}'])
def test_an_end_that_is_none_is_told(tmp_path: Path, end: str) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r/run.json").write_text("{}")
    (tmp_path / "r/journal.jsonl").write_text(f'{{"run": {end}}}\n')
    with pytest.raises(RunError, match="expected how the run ended, found "):
        read_run(tmp_path, "r")
