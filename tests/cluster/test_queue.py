"""Queues of Kueue's own scheduler, controllers and admission: what they do to Jobs, and how that is told of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flyteidl2.core import tasks_pb2
from flyteidl2.task import task_definition_pb2

from flyte_build.submit.action import Outcome
from flyte_build.submit.kubernetes.api import Cluster as Client
from flyte_build.submit.kubernetes.kueue import GROUP, installed_groups, local_queues, queue_trouble
from flyte_build.submit.kubernetes.pod import QUEUE
from flyte_build.submit.kubernetes.watching import JOBS
from tests.cluster.addons import add_kueue, remove_kueue
from tests.cluster.cluster import Cluster
from tests.cluster.jobs import job
from tests.cluster.submitting import Bench

pytestmark = pytest.mark.integration

CLUSTER_QUEUES, FLAVORS = f"/apis/{GROUP}/v1beta1/clusterqueues", f"/apis/{GROUP}/v1beta1/resourceflavors"
PRIORITIES = f"/apis/{GROUP}/v1beta1/workloadpriorityclasses"


@pytest.fixture(scope="module", autouse=True)
def kueue(cluster: Cluster, jobset: None) -> Iterator[None]:
    """Kueue is there for the tests of this file, beside JobSet: without it nothing asks it about Jobs."""
    with cluster.api() as api:
        try:
            add_kueue(cluster, api)
            yield
        finally:
            remove_kueue(cluster, api)


@pytest.fixture(autouse=True)
def _asked_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyte_build.submit.kubernetes.launcher._ASK", 1.0)


class Quota:
    """What the queue ``q`` of a namespace may have at once: one attempt of the bench's fits, and no second."""

    def __init__(self, client: Client) -> None:
        self.client, self.name = client, client.namespace

    def flavor(self) -> None:
        self._make(FLAVORS, "ResourceFlavor", spec={})

    def cluster_queue(self, cpu: str = "150m") -> None:
        held = [{"name": "cpu", "nominalQuota": cpu}, {"name": "memory", "nominalQuota": "1Gi"}]
        flavors = [{"name": self.name, "resources": held}]
        spec = {
            "namespaceSelector": {}, "preemption": {"withinClusterQueue": "LowerPriority"},
            "resourceGroups": [{"coveredResources": ["cpu", "memory"], "flavors": flavors}],
        }  # fmt: skip
        self._make(CLUSTER_QUEUES, "ClusterQueue", spec=spec)

    def queue(self) -> None:
        value = {"apiVersion": f"{GROUP}/v1beta1", "kind": "LocalQueue", "metadata": {"name": "q"}}
        self.client.create(
            local_queues(installed_groups(self.client)[GROUP]), {**value, "spec": {"clusterQueue": self.name}}
        )

    def rival(self, image: str, name: str, priority: int = 0) -> None:
        """A Job of somebody else's in the same queue, for as long as it is there."""
        value = job(name, image, "sleep=300s")
        value["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100m"}}
        value["metadata"]["labels"] = {QUEUE: "q"}
        if priority:
            self._make(PRIORITIES, "WorkloadPriorityClass", value=priority)
            value["metadata"]["labels"][f"{GROUP}/priority-class"] = self.name
        self.client.create(JOBS, value)

    def raised(self) -> None:
        path = f"{CLUSTER_QUEUES}/{self.name}"
        found = self.client.request("GET", path)
        found["spec"]["resourceGroups"][0]["flavors"][0]["resources"][0]["nominalQuota"] = "1"
        self.client.request("PUT", path, body=found)

    def trouble(self) -> str:
        return (queue_trouble(self.client, "q", installed_groups(self.client)) or ("",))[0]

    def _make(self, path: str, kind: str, **more: Any) -> None:
        value = {"apiVersion": f"{GROUP}/v1beta1", "kind": kind, "metadata": {"name": self.name}, **more}
        self.client.request("POST", path, body=value)


def runs(bench: Bench, name: str) -> bool:
    found = bench.client.get(JOBS, name)
    return found is not None and bool((found.get("status") or {}).get("ready"))


def test_a_queue_that_admits_nothing_is_refused_before_anything_waits(make: Callable[..., Bench]) -> None:
    bench = make()
    quota, client = Quota(bench.client), bench.client
    assert queue_trouble(client, "q", installed_groups(client)) == (
        f"namespace {client.namespace} has no LocalQueue q",
        f"`kubectl -n {client.namespace} get localqueues` shows those it has",
    )
    quota.queue()
    bench.wait(lambda: quota.trouble().startswith("queue q admits nothing: "))
    quota.flavor()
    quota.cluster_queue()
    bench.wait(lambda: quota.trouble() == "")


def test_what_is_over_its_quota_waits_with_the_reason(make: Callable[..., Bench]) -> None:
    bench = make()
    quota = Quota(bench.client)
    for part in (quota.flavor, quota.cluster_queue, quota.queue):
        part()
    quota.rival(bench.image, "rival")
    bench.wait(lambda: runs(bench, "rival"))

    def lift() -> None:
        bench.until("queued: couldn't assign flavors to pod set main: insufficient unused quota for cpu in flavor ")
        bench.client.delete(JOBS, "rival")

    assert bench.launch("print=mine", queue="q", during=lift) == Outcome(0)
    assert bench.folder.log("a0", 1).read_text() == "mine\n"


def test_what_no_queue_takes_is_said_and_goes_on_once_one_does(make: Callable[..., Bench]) -> None:
    bench = make()
    quota = Quota(bench.client)

    def lift() -> None:
        bench.until("queued: LocalQueue q doesn't exist")
        quota.queue()
        bench.until(f"queued: ClusterQueue {quota.name} doesn't exist")
        # Its flavor is missing. Kueue does not always say so of what waited before: the workload's message may stay.
        quota.cluster_queue()
        quota.flavor()

    assert bench.launch("print=mine", queue="q", during=lift) == Outcome(0)
    assert bench.lines[-1] == "succeeded"


def test_what_is_preempted_waits_with_its_reason_and_runs_again(make: Callable[..., Bench]) -> None:
    bench = make()
    quota = Quota(bench.client)
    for part in (quota.flavor, quota.cluster_queue, quota.queue):
        part()

    def preempt() -> None:
        bench.until("running on ")
        quota.rival(bench.image, "rival", priority=100)
        bench.until("queued again: Preempted to accommodate a workload")
        bench.wait(lambda: runs(bench, "rival"))
        bench.lines.clear()
        bench.client.delete(JOBS, "rival")

    # Another try would be another launch: this one goes on as the same attempt.
    assert bench.launch("print=once more", "sleep=6s", queue="q", during=preempt) == Outcome(0)
    assert "running on " in " ".join(bench.lines)
    assert bench.lines[-1] == "succeeded"
    held = bench.client.get(JOBS, bench.name)
    assert held is not None
    assert held["metadata"]["labels"][QUEUE] == "q"
    assert bench.folder.log("a0", 1).read_text() == "once more\n", "of the pod that ended well, and of no other"


def test_a_clustered_task_is_admitted_whole(make: Callable[..., Bench]) -> None:
    """One of its two pods would fit."""
    bench = make()
    quota = Quota(bench.client)
    for part in (quota.flavor, quota.cluster_queue, quota.queue):
        part()
    template = tasks_pb2.TaskTemplate(type="clustered-task")
    template.id.name = "env.task"
    template.custom.update({"replicas": 2, "nprocPerNode": 1})
    asked = task_definition_pb2.TaskSpec(task_template=template).SerializeToString()

    def lift() -> None:
        bench.until("queued: couldn't assign flavors to pod set workers: insufficient quota for cpu in flavor ")
        assert bench.pods() == []
        quota.raised()

    assert bench.launch("clustered", "sleep=2s", task_spec=asked, queue="q", during=lift) == Outcome(0)
    assert bench.lines[-1] == "succeeded"
