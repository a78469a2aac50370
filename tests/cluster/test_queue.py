"""Queues on the real cluster: what Kueue does to a Job the test does, and what that looks like is the cluster's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flyte_build.submit.action import Outcome
from flyte_build.submit.kubernetes.access import NAME as ACCOUNT
from flyte_build.submit.kubernetes.kueue import GROUP, LOCAL_QUEUES, installed_groups, queue_trouble
from flyte_build.submit.kubernetes.watching import JOBS
from tests.cluster import stubs
from tests.cluster.api import Api
from tests.cluster.submitting import Bench

pytestmark = pytest.mark.integration


@pytest.fixture
def kueue(api: Api) -> Iterator[None]:
    try:
        stubs.install(api, GROUP, "v1beta1", stubs.KUEUE)
        yield
    finally:
        stubs.remove(api, GROUP, stubs.KUEUE)


def suspend(bench: Bench, value: bool) -> None:
    """As Kueue admits and preempts."""
    held = bench.client.get(JOBS, bench.name)
    assert held is not None
    held["spec"]["suspend"] = value
    bench.client.request("PUT", bench.client.path(JOBS, bench.name), body=held)


def tell(bench: Bench, reason: str, message: str) -> None:
    """An event about the Workload of the Job, as Kueue's own."""
    about = {"kind": "Workload", "namespace": bench.client.namespace, "name": f"job-{bench.name}-1a2b3",
             "apiVersion": f"{GROUP}/v1beta1"}  # fmt: skip
    event = {"metadata": {"generateName": "e-"}, "involvedObject": about, "reason": reason, "message": message,
             "type": "Normal", "source": {"component": ACCOUNT}}  # fmt: skip
    bench.client.create("v1/events", event)


def test_without_kueue_a_queue_is_refused(make: Callable[..., Bench]) -> None:
    client = make().client
    told = queue_trouble(client, "q", installed_groups(client))
    assert told is not None
    assert told[0] == "queue `q` is set, and Kueue is not installed"


def test_a_queue_that_is_not_there_is_refused_before_anything_waits(make: Callable[..., Bench], kueue: None) -> None:
    client = make().client
    groups = installed_groups(client)
    assert queue_trouble(client, "q", groups) == (
        f"namespace {client.namespace} has no LocalQueue q",
        f"`kubectl -n {client.namespace} get localqueues` shows those it has",
    )
    kind: dict[str, Any] = {"apiVersion": f"{GROUP}/v1beta1", "kind": "LocalQueue"}
    client.create(LOCAL_QUEUES, {**kind, "metadata": {"name": "q"}, "spec": {"clusterQueue": "c"}})
    assert queue_trouble(client, "q", groups) is None


def test_what_is_preempted_waits_with_its_reason_and_runs_again(make: Callable[..., Bench]) -> None:
    bench = make()

    def play() -> None:
        bench.until("running on ")
        tell(bench, "EvictedDueToPreempted", "Preempted to accommodate a workload of a higher priority")
        suspend(bench, True)
        bench.until("queued again: Preempted to accommodate a workload")
        tell(bench, "Pending", "couldn't assign flavors: 4 more needed")
        bench.until("queued: couldn't assign flavors: 4 more needed")
        bench.wait(lambda: not bench.pods())  # Kueue, too, waits until none is left
        bench.lines.clear()
        suspend(bench, False)

    before = bench.launch("print=once more", "sleep=20s", queue="research", during=play)
    assert before == Outcome(0)
    assert "running on " in " ".join(bench.lines)
    assert bench.lines[-1] == "succeeded"
    job = bench.client.get(JOBS, bench.name)
    assert job is not None
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    assert bench.folder.log("a0", 1).read_text() == "once more\n", "of the pod that ended well, and of no other"
