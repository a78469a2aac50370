"""Clustered tasks with JobSet's own controllers and admission: what we make is taken, what becomes of it is seen."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flyteidl2.core import tasks_pb2
from flyteidl2.task import task_definition_pb2

from flyte_build.submit.action import LaunchRequest, Outcome
from flyte_build.submit.kubernetes.api import ApiError
from flyte_build.submit.kubernetes.gangs import JOBSETS, Made, jobset, made_for
from flyte_build.submit.kubernetes.pod import job
from flyte_build.submit.kubernetes.watching import PODS
from tests.cluster.submitting import Bench

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("jobset")]

PODS_EACH = 2


def spec(**policy: Any) -> bytes:
    """A clustered task as the SDK serializes it, of the pod program."""
    template = tasks_pb2.TaskTemplate(type="clustered-task")
    template.id.name = "env.task"
    template.custom.update({"replicas": PODS_EACH, "nprocPerNode": 1, "failurePolicy": policy})
    serialized: bytes = task_definition_pb2.TaskSpec(task_template=template).SerializeToString()
    return serialized


def request(bench: Bench, task_spec: bytes, *do: str) -> LaunchRequest:
    return LaunchRequest(bench.run, "a0", 1, "env.task", "it", do, {}, Path("/dev/null"), task_spec=task_spec)


def made(bench: Bench, task_spec: bytes) -> Made:
    return made_for(request(bench, task_spec))


def there(bench: Bench, task_spec: bytes) -> dict[str, Any]:
    found = bench.client.get(JOBSETS, made(bench, task_spec).name)
    assert found is not None
    return found


def log(bench: Bench) -> list[str]:
    return bench.folder.log("a0", 1).read_text().splitlines()


def test_pods_meet_are_begun_anew_and_come_to_an_end(make: Callable[..., Bench]) -> None:
    """Three at once, which mostly wait: what is told of each is below."""
    meets, fails, evicted = make(), make(), make()
    plain, again, free = spec(), spec(maxRestarts=1), spec(restartOnHostMaintenance=True)
    name = made(meets, plain).name
    first = f"{name}-workers-0-0.{name}.{meets.client.namespace}.svc.cluster.local"
    told = ("env=JOBSET_NAME", "env=NNODES", "env=NPROC_PER_NODE", "env=MASTER_PORT", "env=JOB_COMPLETION_INDEX")

    def evict() -> None:
        evicted.until(f"{PODS_EACH} of {PODS_EACH} pods run")
        victim = evicted.pods()[0]["metadata"]["name"]
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": victim}}
        evicted.client.request("POST", f"{evicted.client.path(PODS, victim)}/eviction", body=body)

    with ThreadPoolExecutor(3) as threads:
        meeting = threads.submit(meets.launch, "clustered", *told, f"lookup={first}", task_spec=plain)
        failing = threads.submit(fails.launch, "clustered", "print=tried", "exit=3", task_spec=again)
        going_on = threads.submit(
            evicted.launch, "clustered", "env=JOBSET_RESTART_ATTEMPT", "sleep=10s", task_spec=free, during=evict
        )
        # They find the first of them by the name that the SDK's launcher makes of these variables.
        assert meeting.result() == Outcome(0)
        # An end that its failure policy begins anew once, and no more.
        outcome = failing.result()
        # A pod that its node gives up is nobody's failure, and counts for none.
        assert going_on.result() == Outcome(0)
    said = log(meets)
    assert [said.count(line) for line in (f"JOBSET_NAME={name}", "NNODES=2", "NPROC_PER_NODE=1")] == [2, 2, 2]
    assert sorted(line for line in said if "INDEX" in line) == ["JOB_COMPLETION_INDEX=0", "JOB_COMPLETION_INDEX=1"]
    addresses = [line for line in said if line[0].isdigit()]
    assert len(addresses) == 2
    assert len(set(addresses)) == 1
    assert meets.lines[-1] == "succeeded"

    assert (outcome.exit_code, outcome.reason) == (3, "")
    status = there(fails, again)["status"]
    assert (status["terminalState"], status["restarts"]) == ("Failed", 1)
    assert set(log(fails)) == {"tried"}

    status = there(evicted, free)["status"]
    assert (status["terminalState"], status["restarts"]) == ("Completed", 1)
    assert not status.get("restartsCountTowardsMax")
    assert set(log(evicted)) == {"JOBSET_RESTART_ATTEMPT=1"}


def test_an_attempt_that_is_called_off_leaves_no_pod(make: Callable[..., Bench]) -> None:
    """And one whose pods no node takes is given up whole."""
    bench = make(unscheduled=3.0)
    asked = spec()
    task = task_definition_pb2.TaskSpec.FromString(asked)
    task.task_template.container.resources.requests.add(name=tasks_pb2.Resources.GPU, value="3")
    whole = task.SerializeToString()
    outcome = bench.launch("clustered", "sleep=300s", task_spec=whole)
    assert (outcome.code, "Insufficient nvidia.com/gpu" in outcome.message) == ("Unschedulable", True)
    bench.wait(lambda: not bench.pods() and bench.client.get(JOBSETS, made(bench, whole).name) is None)


def test_its_admission_knows_all_that_we_say(make: Callable[..., Bench]) -> None:
    """What it does not know the API server would drop without a word; asked to be strict, it says so."""
    bench = make()
    asked = request(bench, spec(maxRestarts=2, restartOnHostMaintenance=True), "clustered")
    place = replace(bench.launcher.place, queue="research")
    value = jobset(job(asked, bench.image, place), made_for(asked))
    path, query = bench.client.path(JOBSETS), {"dryRun": "All", "fieldValidation": "Strict"}
    taken = bench.client.request("POST", path, query, body=value)
    assert taken["spec"]["failurePolicy"]["rules"][0]["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    with pytest.raises(ApiError, match="too long"):
        bench.client.request("POST", path, query, body={**value, "metadata": {"name": "x" * 60}})
