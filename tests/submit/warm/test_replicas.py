"""Reusable environments in whole runs: what actions share, and how one of them ends without its neighbours."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flyte_build.submit.action import Phase
from flyte_build.submit.history import find_logs, read_run

from ..conftest import Runs

pytestmark = pytest.mark.integration


def test_actions_share_their_replica_and_keep_their_logs(runs: Runs, outputs: Any) -> None:
    result = runs.run(runs.action("reuse", "shares"), "one")
    *counted, a, b, c, d = outputs(result)
    started = {line.split()[0] for line in (*counted, a, b, c, d)}
    assert len(started) == 1, "one replica, for it was never full"
    assert [line.split()[1] for line in counted] == ["1", "2", "3"]
    assert len({a, b, c, d}) == 1, "four at once, in one process and one thread"
    assert sorted(p.name for p in (result.folder / "workers").glob("replica*")) == ["replica1.log"]
    said = [log.read_text() for _, log in find_logs(read_run(runs.runs_dir, "one"), "counts")]
    assert sorted(re.findall(r"counted \d", text)[0] for text in said) == ["counted 1", "counted 2", "counted 3"]
    assert all(text.count("counted") == 1 for text in said)
    assert not any((result.folder / "scratch").glob("*")), "nothing is left of it"


def test_a_timeout_a_failure_and_an_abort_end_one_action(
    runs: Runs, outputs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyte_build.submit.beginning.PATIENCE", 10_000)  # so that timeouts count from the inputs
    result = runs.run(runs.action("reuse", "ends"), "one")
    started, timeout, failure, cancelled, stayed, after = outputs(result)
    assert timeout.startswith("MaxRuntimeExceededError MaxRuntimeExceededError: Action ")
    assert timeout.endswith(": ran longer than its timeout of 2 s")
    assert failure == "RuntimeUserError ValueError: no 3 today"
    assert cancelled == "cancelled"
    assert started == stayed == after, "the replica of them all goes on"
    phases = sorted(a.phase.value for a in result.actions if a.task == "leaf.patient")
    assert phases == ["aborted", "succeeded"]


def test_a_crash_is_its_actions_and_its_neighbours_run_again(runs: Runs, outputs: Any) -> None:
    result = runs.run(runs.action("reuse", "crash"), "one")
    crashed, bystander, after = outputs(result)
    assert crashed.startswith("RuntimeSystemError ended with exit code 3 and left neither outputs nor an error")
    assert bystander.startswith("again: ")
    assert after == "1", "a replica that ended is replaced"
    attempts = {a.task: a.attempt for a in result.actions}
    assert (attempts["leaf.bystander"], attempts["leaf.crashes"]) == (2, 2)


def test_a_replica_that_an_action_changed_is_replaced(runs: Runs, outputs: Any) -> None:
    before, changed, after = outputs(runs.run(runs.action("reuse", "changed"), "one"))
    assert before == changed
    assert after != before


def test_a_thread_that_cannot_be_ended_ends_with_its_replica(runs: Runs, outputs: Any) -> None:
    first, second, third = outputs(runs.run(runs.action("reuse", "alone"), "one"))
    assert first == "MaxRuntimeExceededError MaxRuntimeExceededError"
    assert second == third


def test_parents_do_not_starve_their_children(runs: Runs, outputs: Any) -> None:
    result = runs.run(runs.action("reuse", "recurses"), "one")
    assert outputs(result) == 24
    (said,) = runs.observer.warnings
    assert said == (
        "environment middle: its replica waits for actions of this environment, so one more is started: "
        'give it more `replicas`, more `concurrency`, or its parents `reusable="off"`'
    )


def test_without_the_runtime_for_it_an_environment_is_not_reused(runs: Runs, outputs: Any, tmp_path: Any) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "sitecustomize.py").write_text(
        "import sys\nsys.modules['flyte._internal.runtime.rusty'] = None\n"
    )
    image = runs.images["middle"]
    target = "/run/flyte-build/odd"
    runs.images["middle"] = type(image)(
        image.digest, image.root, image.python, (*image.env, f"PYTHONPATH={target}"), image.workdir,
        (*image.binds, (tmp_path / "odd", target)),
    )  # fmt: skip
    result = runs.run(runs.action("reuse", "recurses"), "one")
    assert result.phase is Phase.SUCCEEDED
    (said,) = runs.observer.warnings
    assert said.startswith(
        "environment middle: its `reusable` has no effect here: this flyte has no runtime for reused"
    )
