"""A launcher among queues, quotas and trouble: what is waited for, and what costs no attempt."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flyte_build.submit.action import Outcome
from flyte_build.submit.kubernetes.watching import JOBS
from tests.support.apiserver import ApiServer, Bad

from .test_launcher import NAME, Bench


@pytest.fixture
def bench(api: ApiServer, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(api, tmp_path / "runs")
    yield made
    made.watcher.close()


def test_what_is_preempted_goes_on_in_its_queue_and_is_the_same_attempt(api: ApiServer, bench: Bench) -> None:
    workload = f"job-{NAME}-1a2b3"

    def suspend(value: bool) -> None:
        held = api.objects[JOBS][NAME]
        api.put(JOBS, {**held, "spec": {**held["spec"], "suspend": value}})

    def hand() -> None:
        suspend(True)
        api.event(workload, "Workload", "Pending", "couldn't assign flavors: 4 more needed")
        bench.until("queued: couldn't assign flavors: 4 more needed")
        suspend(False)
        running = [{"name": "primary", "state": {"running": {}}}]
        first = api.pod(NAME, "Running", suffix="first", containerStatuses=running)
        bench.until("running on n1")
        suspend(True)
        api.event(workload, "Workload", "EvictedDueToPreempted", "Preempted to accommodate a workload")
        bench.until("queued again: Preempted to accommodate a workload")
        leaving = {**first, "metadata": {**first["metadata"], "deletionTimestamp": "now"}}
        api.put("v1/pods", leaving)
        api.put("v1/pods", {**leaving, "status": {"phase": "Failed"}}, "DELETED")
        while not bench.watcher.known(NAME).past:  # Kueue, too, waits until none is left
            threading.Event().wait(0.01)
        suspend(False)
        bench.until("waits for its pod")
        bench.end()

    assert bench.launch(hand, queue="research") == Outcome(0)
    (job,) = api.objects[JOBS].values()
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    assert [a for a in api.asked if a.startswith("POST") and a.endswith("/jobs")] == [
        "POST /apis/batch/v1/namespaces/team/jobs"
    ]


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2"])
def test_a_queue_that_says_nothing_is_asked(version: str, api: ApiServer, bench: Bench) -> None:
    api.unserved = {f"kueue.x-k8s.io/{v}" for v in ("v1beta1", "v1beta2")} - {f"kueue.x-k8s.io/{version}"}

    def hand() -> None:
        held = api.objects[JOBS][NAME]
        held = api.put(
            JOBS, {**held, "metadata": {**held["metadata"], "uid": "u1"}, "spec": {**held["spec"], "suspend": True}}
        )
        condition = {"type": "QuotaReserved", "status": "False", "reason": "Inadmissible", "message": "no LocalQueue q"}
        workload = {
            "metadata": {"name": "w", "labels": {"kueue.x-k8s.io/job-uid": "u1"}},
            "status": {"conditions": [condition]},
        }
        api.put(f"kueue.x-k8s.io/{version}/workloads", workload)
        bench.until("queued")
        bench.clock.now += 11
        bench.until("queued: no LocalQueue q")
        api.put(JOBS, {**held, "spec": {**held["spec"], "suspend": False}})
        bench.end()

    assert bench.launch(hand, queue="q") == Outcome(0)


def test_a_namespace_that_holds_as_many_jobs_as_it_may_is_waited_for(
    api: ApiServer, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyte_build.submit.kubernetes.launcher.JITTER.random", lambda: -0.49)
    full = [2]

    def refuse(method: str, kind: str, query: dict[str, str]) -> Bad | None:
        if method == "POST" and kind == JOBS and full[0]:
            full[0] -= 1
            return Bad(403, "Forbidden", 'jobs "x" is forbidden: exceeded quota: q, requested: count/jobs.batch=1')
        return None

    api.bad = refuse
    assert bench.launch(bench.end) == Outcome(0)
    assert bench.lines[0] == "quota: q, requested: count/jobs.batch=1"
    bench = Bench(api, tmp_path / "others")
    full[0] = 1
    bench.launcher = dataclasses.replace(bench.launcher, unscheduled=0.0)
    outcome = asyncio.run(bench.launcher.launch(bench.request()))
    assert (outcome.code, outcome.again) == ("Unschedulable", False)
    assert outcome.message == "the quota left no room: q, requested: count/jobs.batch=1"


def test_a_job_whose_making_nobody_heard_of_is_ours(api: ApiServer, bench: Bench) -> None:
    lost = [1]

    def make_and_hang_up(method: str, kind: str, value: dict[str, Any]) -> dict[str, Any] | None:
        if kind == JOBS and lost[0]:
            lost[0] -= 1
            api.put(JOBS, value)
            raise ConnectionError("the answer is lost")
        return None

    api.answer = make_and_hang_up
    assert bench.launch(bench.end) == Outcome(0)
    assert list(api.objects[JOBS]) == [NAME]
    assert len([a for a in api.asked if a.startswith("POST")]) == 2, "it was asked for again, and is the same"


@pytest.mark.parametrize("when", ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])
def test_a_clusters_clock_is_none_of_ours(api: ApiServer, bench: Bench, when: str) -> None:
    """What is waited for is measured by our own clock, however wrong the cluster's is."""
    unscheduled = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes.", "lastTransitionTime": when}]

    def hand() -> None:
        bench.api.pod(NAME, suffix=when, conditions=unscheduled, startTime=when)
        bench.until("queued: 0/1 nodes")
        bench.clock.now += 1799
        bench.api.pod(NAME, suffix=when, conditions=[{**unscheduled[0], "message": "0/2 nodes."}], startTime=when)
        bench.until("queued: 0/2 nodes")
        bench.end()

    assert bench.launch(hand) == Outcome(0)
