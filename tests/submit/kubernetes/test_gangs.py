"""Clustered tasks: their JobSet, how several pods look as one attempt, and an attempt from its beginning to its end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import flyte
import flyte.clustered
import pytest
from flyte._internal.runtime.task_serde import get_proto_task
from flyte.models import SerializationContext
from flyteidl2.task import task_definition_pb2
from kubernetes.client import V1Container, V1PodSpec

from flyte_build.submit.action import LaunchRequest
from flyte_build.submit.kubernetes.errors import Unplaceable
from flyte_build.submit.kubernetes.gangs import JOBSETS, Gang, Made, gang_of, jobset, look_gang, made_for, refuse_gang
from flyte_build.submit.kubernetes.kueue import job_of
from flyte_build.submit.kubernetes.pod import QUEUE, job
from flyte_build.submit.kubernetes.preflight import hopeless
from flyte_build.submit.kubernetes.watching import JOBS
from flyte_build.submit.template import Unsupported, read_task
from tests.support.apiserver import ApiServer

from .test_launcher import Bench, bench
from .test_pod import IMAGE, PLACE, request_of

__all__ = ["bench"]

ATTEMPT = "jobset.sigs.k8s.io/restart-attempt"


def spec(**more: Any) -> task_definition_pb2.TaskSpec:
    env = flyte.clustered.ClusteredTaskEnvironment(
        "gpu", image=flyte.Image.from_base(IMAGE), **{"replicas": 3, "nproc_per_node": 2, **more}
    )

    @env.task
    async def train(x: int) -> int:
        return x

    context = SerializationContext(version="v1", project="p", domain="d", org="o", root_dir=Path("/"))
    return task_definition_pb2.TaskSpec(task_template=get_proto_task(train, context))


def request(**more: Any) -> LaunchRequest:
    queue = more.pop("queue", "")
    found = spec(**more)
    return request_of(
        found.SerializeToString(), args=tuple(found.task_template.container.args), env={"A": "b"}, queue=queue
    )


def test_what_the_sdk_says_of_its_pods_is_read() -> None:
    policy = flyte.clustered.ClusterFailurePolicy(max_restarts=2, restart_on_host_maintenance=True)
    runtime = flyte.clustered.TorchRun(rdzv_backend="c10d")
    found = spec(failure_policy=policy, runtime=runtime)
    assert gang_of(found.task_template) == Gang(3, 2, "c10d", 2, True)
    assert gang_of(spec().task_template) == Gang(3, 2, "static", 0, False)
    assert gang_of(task_definition_pb2.TaskSpec().task_template) is None


def test_its_jobset_is_as_the_launcher_in_its_pods_expects() -> None:
    policy = flyte.clustered.ClusterFailurePolicy(max_restarts=2)
    asked = request(failure_policy=policy, queue="training")
    made = made_for(asked)
    assert (made.kind, made.watched) == (JOBSETS, f"{made.name}-workers-0")
    assert len(f"{made.watched}-100-abcde") <= 63
    found = jobset(job(asked, IMAGE, PLACE), made)
    assert (found["apiVersion"], found["kind"], found["metadata"]["name"]) == (
        "jobset.x-k8s.io/v1alpha2", "JobSet", made.name,
    )  # fmt: skip
    assert found["metadata"]["labels"][QUEUE] == "training"
    assert found["spec"]["failurePolicy"] == {"maxRestarts": 2}
    assert found["spec"]["network"] == {"enableDNSHostnames": True, "subdomain": made.name}
    (workers,) = found["spec"]["replicatedJobs"]
    assert (workers["name"], workers["replicas"]) == ("workers", 1)
    labels = workers["template"]["metadata"]["labels"]
    assert (labels["run"], labels["action"], QUEUE in labels) == ("r1", "a0", False)
    spec = workers["template"]["spec"]
    assert {k: spec[k] for k in ("completionMode", "parallelism", "completions", "backoffLimit")} == {
        "completionMode": "Indexed", "parallelism": 3, "completions": 3, "backoffLimit": 0,
    }  # fmt: skip
    (main,) = spec["template"]["spec"]["containers"]
    assert (main["image"], main["args"][0]) == (IMAGE, "clustered")
    env = {v["name"]: v.get("value") or v["valueFrom"]["fieldRef"]["fieldPath"] for v in main["env"]}
    assert {k: env[k] for k in env if k not in ("A", "RUN_NAME")} == {
        "JOBSET_NAME": made.name, "NNODES": "3", "NPROC_PER_NODE": "2", "MASTER_PORT": "29500",
        "RDZV_BACKEND": "static", "POD_NAMESPACE": "metadata.namespace",
        "JOBSET_RESTART_ATTEMPT": f"metadata.labels['{ATTEMPT}']",
    }  # fmt: skip


def test_maintenance_of_a_node_is_free_where_the_task_says_so() -> None:
    asked = request(failure_policy=flyte.clustered.ClusterFailurePolicy(restart_on_host_maintenance=True))
    found = jobset(job(asked, IMAGE, PLACE), made_for(asked))
    (rule,) = found["spec"]["failurePolicy"]["rules"]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("RestartJobSetAndIgnoreMaxRestarts", ["PodFailurePolicy"])
    workers = found["spec"]["replicatedJobs"][0]["template"]["spec"]
    (only,) = workers["podFailurePolicy"]["rules"]
    assert (only["action"], only["onPodConditions"]) == ("FailJob", [{"type": "DisruptionTarget", "status": "True"}])


def test_its_queue_may_be_what_its_pod_template_says() -> None:
    """As the SDK's own description of such environments has it; the task's word is worth more, the target's less."""
    template = flyte.PodTemplate(
        pod_spec=V1PodSpec(containers=[V1Container(name="primary")]), labels={QUEUE: "training", "cost": "ml"}
    )
    asked = replace(request(pod_template=template), args=("clustered",))
    place = replace(PLACE, queue="everybody")
    for chosen, queue in ((asked, "training"), (replace(asked, queue="urgent"), "urgent")):
        found = jobset(job(chosen, IMAGE, place), made_for(chosen))
        assert found["metadata"]["labels"][QUEUE] == queue
        pods = found["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["metadata"]["labels"]
        assert (pods["cost"], QUEUE in pods) == ("ml", False)


def test_why_its_queue_keeps_it_is_told_as_of_any_job(bench: Bench) -> None:
    assert job_of("jobset-r1-a0-1-workers-1a2b3") == "r1-a0-1-workers-workers-0"
    assert (job_of("job-r1-a0-1-1a2b3"), job_of("raycluster-x-1a2b3"), job_of("jobset")) == ("r1-a0-1", "", "")
    held = {"spec": {"suspend": True}, "metadata": {"uid": "u"}}
    told = {"reason": "Pending", "message": "couldn't assign flavors: 4 more needed"}
    sight = look_gang(Gang(2), held, {"metadata": {}}, [], [told], unscheduled=60.0)
    assert (sight.stage, sight.line, sight.patience) == (
        "queued", "queued: couldn't assign flavors: 4 more needed", None,
    )  # fmt: skip


def test_what_no_event_says_is_asked_of_its_jobset(bench: Bench) -> None:
    """A queue that is gone: Kueue says it of the Workload of the JobSet, and of no Job."""
    asked = replace(bench.request(task_spec=spec(replicas=1).SerializeToString()), args=("clustered",))
    made = made_for(asked)

    def hand() -> None:
        held = bench.api.objects[JOBSETS][made.name]
        bench.api.put(JOBSETS, {**held, "spec": {**held["spec"], "suspend": True}})
        condition = {"type": "QuotaReserved", "status": "False", "message": "LocalQueue q doesn't exist"}
        labels = {"kueue.x-k8s.io/job-uid": held["metadata"]["uid"]}
        workload = {"metadata": {"name": "w", "labels": labels}, "status": {"conditions": [condition]}}
        bench.api.put("kueue.x-k8s.io/v1beta2/workloads", workload)
        bench.until("queued")
        bench.clock.now += 11.0
        bench.until("queued: LocalQueue q doesn't exist")
        bench.api.put(JOBSETS, {**held, "status": {"terminalState": "Completed"}})

    outcome = asyncio.run(_play(bench, asked, made.name, hand))
    assert (outcome.exit_code, outcome.reason) == (0, "")


def test_one_machine_refuses_it_and_a_cluster_without_jobset(api: ApiServer) -> None:
    with pytest.raises(Unsupported, match="clustered tasks run on a cluster that has JobSet"):
        read_task(spec())
    assert read_task(spec(), gangs=True).args[0] == "clustered"
    api.documents["/apis"] = {"groups": [{"name": "apps"}]}
    asked = request()
    (problem,) = hopeless(api.cluster(), [LaunchRequest(**{**_fields(asked), "image": IMAGE})], PLACE)
    assert problem.message == "gpu.train is a clustered task, and JobSet is not installed in the cluster"
    with pytest.raises(Unplaceable):
        refuse_gang(api.cluster(), asked)
    api.documents["/apis"] = {"groups": [{"name": "jobset.x-k8s.io"}]}
    refuse_gang(api.cluster(), asked)
    api.put("v1/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}})
    (small,) = hopeless(api.cluster(), [LaunchRequest(**{**_fields(asked), "image": IMAGE})], PLACE)
    assert small.message == "the quota q allows 2 of pods, and it asks for 3"


def _fields(value: LaunchRequest) -> dict[str, Any]:
    return {name: getattr(value, name) for name in LaunchRequest.__slots__}


def pod(number: int, phase: str, attempt: int = 0, **status: Any) -> dict[str, Any]:
    states = {"Running": {"running": {}}, "Succeeded": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
    told = [{"name": "primary", "state": states[phase]}] if phase in states else []
    metadata = {"name": f"p{number}-{attempt}", "labels": {ATTEMPT: str(attempt)}}
    return {
        "metadata": metadata, "spec": {"nodeName": "n1"},
        "status": {"phase": phase, "containerStatuses": told, **status},
    }  # fmt: skip


def line(found: Any, pods: list[Any], job: Any = None) -> Any:
    return look_gang(Gang(2), found, job if job is not None else {"metadata": {}}, pods, (), unscheduled=60.0)


def test_several_pods_look_as_one_attempt() -> None:
    going: dict[str, Any] = {"status": {}}
    assert line(going, []).line == "waits for its pod"
    assert line(going, [pod(0, "Running")]).line == "waits for its pods: 1 of 2"
    assert (line(going, [pod(0, "Running"), pod(1, "Running")]).line) == "2 of 2 pods run"
    one_done = line(going, [pod(0, "Running"), pod(1, "Succeeded")])
    assert (one_done.stage, one_done.patience) == ("running", None)
    waiting = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}]
    stuck = line(going, [pod(0, "Running"), pod(1, "Pending", conditions=waiting)])
    assert (stuck.line, stuck.patience) == ("queued: 0/1 nodes are available: 1 Insufficient cpu", 60.0)
    again = line(going, [pod(0, "Running", 1), pod(1, "Running", 1), pod(0, "Succeeded"), pod(1, "Succeeded")])
    assert again.line == "2 of 2 pods run, begun anew 1 times"
    assert line({"spec": {"suspend": True}}, []).stage == "queued"
    evicted = {"metadata": {}, "status": {"conditions": [{"type": "Failed", "status": "True", "message": "m"}]}}
    between = line(going, [], evicted)
    assert (between.stage, between.line) == ("waiting", "waits for its pods: 0 of 2"), "JobSet may make them anew"
    assert between.outcome.code == "Unschedulable"


def test_its_end_is_what_its_jobset_says() -> None:
    failed = pod(0, "Failed", containerStatuses=[{"name": "primary", "state": {"terminated": {"exitCode": 3}}}])
    ended_with_it = pod(1, "Failed", conditions=[{"type": "DisruptionTarget", "status": "True", "message": "m"}])
    over = {"status": {"terminalState": "Failed"}}
    assert line({"status": {}}, [failed, ended_with_it]).stage == "running", "JobSet may make them anew"
    assert line(over, [ended_with_it, failed]).outcome.exit_code == 3
    lost = line(over, [ended_with_it])
    assert (lost.outcome.reason, lost.stage) == ("lost", "ended")
    assert line({"status": {"terminalState": "Completed"}}, []).outcome.exit_code == 0
    complete = {"metadata": {}, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    assert line({"status": {}}, [pod(0, "Running")], complete).stage == "ended"
    assert line(None, []).outcome.reason == "lost"
    said = {"terminalState": "Failed", "conditions": [{"type": "Failed", "status": "True", "message": "no more"}]}
    assert line({"status": said}, []).line == "no more"


def test_an_attempt_from_its_jobset_to_its_end(bench: Bench) -> None:
    asked = replace(bench.request(task_spec=spec(replicas=1).SerializeToString()), args=("clustered",))
    made = made_for(asked)

    def hand() -> None:
        api, held = bench.api, _workers(bench, made)
        api.pod(made.watched, "Running", containerStatuses=[{"name": "primary", "state": {"running": {}}}])
        bench.until("1 of 1 pods run")
        api.put(JOBSETS, {**held, "status": {"terminalState": "Completed"}})
        api.pod(made.watched, "Running", containerStatuses=[])

    outcome = asyncio.run(_play(bench, asked, made.name, hand))
    assert (outcome.exit_code, outcome.reason) == (0, "")
    assert bench.lines[-1] == "succeeded"


def test_a_gang_that_no_node_takes_is_deleted_whole(bench: Bench) -> None:
    asked = replace(bench.request(task_spec=spec(replicas=1).SerializeToString()), args=("clustered",))
    made = made_for(asked)

    def hand() -> None:
        told = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}]
        _workers(bench, made)
        bench.api.pod(made.watched, "Pending", conditions=told)
        bench.until("queued: 0/1 nodes are available: 1 Insufficient cpu")
        bench.clock.now += 1801.0

    outcome = asyncio.run(_play(bench, asked, made.name, hand))
    assert (outcome.code, made.name in bench.api.objects[JOBSETS]) == ("Unschedulable", False)


def _workers(bench: Bench, made: Made) -> dict[str, Any]:
    """Make the Job that JobSet makes, and give the JobSet."""
    held = bench.api.objects[JOBSETS][made.name]
    labels = held["spec"]["replicatedJobs"][0]["template"]["metadata"]["labels"]
    bench.api.put(JOBS, {"metadata": {"name": made.watched, "labels": labels}, "spec": {}, "status": {}})
    return held


async def _play(bench: Bench, asked: LaunchRequest, name: str, hand: Any) -> Any:
    """Launch, with ``hand`` once the JobSet is there."""

    def played() -> None:
        with bench.api.changed:
            assert bench.api.changed.wait_for(lambda: name in bench.api.objects.get(JOBSETS, {}), 60)
        hand()

    bench.wake = bench.launcher.changed(asyncio.get_running_loop())
    bench.watcher.start()
    async with asyncio.timeout(60), asyncio.TaskGroup() as both:
        both.create_task(asyncio.to_thread(played))
        launched = both.create_task(bench.launcher.launch(asked))
    return launched.result()
