"""``flyte.run`` in a task, by the unmodified runtime: a run of its own, in the tree and on this machine."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyte_build.project.declaring import declare
from flyte_build.project.loading import load
from flyte_build.project.modules import Modules
from flyte_build.submit.action import Phase
from flyte_build.submit.cache import bundle_digest
from flyte_build.submit.control.application import Control
from flyte_build.submit.deployed import DeployedTask, Deployments
from flyte_build.submit.run import DOMAIN, PROJECT, RunResult, execute, references_of
from flyte_build.submit.template import pin_root, registered
from tests.support.flyte_files import host_image

from .conftest import WORKFLOWS, Runs

pytestmark = pytest.mark.integration

Read = Callable[[RunResult], Any]


def test_a_task_starts_runs_and_hears_of_them(runs: Runs, outputs: Read) -> None:
    result = runs.run(runs.action("starting", "main"), "one")
    assert result.phase is Phase.SUCCEEDED, result.error
    early, name, action, phase, both, below, tasks, error, taken, strange, nobody, secret = outputs(result)
    assert (early, name, action, phase, below) == ("2", "called-so", "a0", "succeeded", "21")
    assert ast.literal_eval(both) == ("hello", "a word")
    assert ast.literal_eval(tasks) == ["leaf.add", "leaf.add", "top.parent"]
    assert (error, taken, strange) == ("ValueError: bad 3", "RunAlreadyExistsError", "InvalidArgumentError")
    assert "there is no run or action nobody in the run one" in nobody
    assert "needs a Flyte backend" in secret

    roots = {a.run: a for a in result.actions if a.run}
    assert {a.parent for a in roots.values()} == {"a0"}
    assert roots["called-so"].name == "called-so"
    assert sorted(a.task for a in roots.values()) == ["leaf.add", "leaf.fail", "leaf.read", "top.parent"]
    failed = next(a for a in roots.values() if a.task == "leaf.fail")
    assert failed.phase is Phase.FAILED
    assert failed.error is not None
    assert failed.error.code == "ValueError"


def test_a_child_run_outlives_the_task_that_started_it(runs: Runs, outputs: Read) -> None:
    result = runs.run(runs.action("starting", "leave"), "one")
    assert result.phase is Phase.SUCCEEDED, result.error
    (child,) = [a for a in result.actions if a.run]
    assert (child.run, child.phase, child.task) == (outputs(result), Phase.SUCCEEDED, "leaf.late")
    root = next(a for a in result.actions if a.name == "a0")
    assert child.ended is not None
    assert root.ended is not None
    assert child.ended > root.ended


def _deployed(runs: Runs, folder: Path) -> Deployments:
    """``other.py``'s task in an image that no environment of a run has."""
    image = host_image(folder / "elsewhere", f"sha256:{'7' * 64}")
    runs.images["other"] = image
    with Modules(WORKFLOWS).entered():
        project = load(WORKFLOWS / "other.py", WORKFLOWS)
        (one,) = declare(project, project.tasks, folder / "declared")
    references = references_of({"other": image.digest})
    spec = registered(pin_root(one.spec, references, "other", ""), PROJECT, DOMAIN, "1")
    bundle = one.serialized.bundle
    store = Deployments(folder / "tasks")
    store.put(
        [
            DeployedTask(
                PROJECT, DOMAIN, "other.add", "1", "other", spec.SerializeToString(),
                {references["other"]: image.digest}, bundle_digest(bundle), bundle, 0.0, {},
            )
        ]
    )  # fmt: skip
    return store


def test_a_deployed_task_is_called_by_its_name(runs: Runs, outputs: Read, tmp_path: Path) -> None:
    store = _deployed(runs, tmp_path)
    request = runs.request(runs.action("starting", "by_name"), "one", control=Control(store))
    images = {environment: digest for environment, digest in request.images.items() if environment != "other"}
    request, other = dataclasses.replace(request, images=images), runs.images["other"]
    result = execute(request, runs.observer)
    assert result.phase is Phase.SUCCEEDED, result.error
    assert outputs(result) == ["101", "6", "1", "110", "1103", "107", "RemoteTaskNotFoundError"]
    calls = [a for a in result.actions if a.task == "other.add"]
    assert {a.image for a in calls} == {other.digest}
    assert [a.run != "" for a in calls] == [False, False, False, False, True]
    assert any("no task other.nothing was deployed here" in w for w in runs.observer.warnings)
