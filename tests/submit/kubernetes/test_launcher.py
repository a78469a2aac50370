"""Attempts on a cluster that does what the test says: adopted, awaited, given up, taken back."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore

from flyte_build.submit import door
from flyte_build.submit.action import LaunchRequest, Left, Outcome
from flyte_build.submit.kubernetes.launcher import KubernetesLauncher
from flyte_build.submit.kubernetes.mirror import Mirror
from flyte_build.submit.kubernetes.names import job_name
from flyte_build.submit.kubernetes.pod import Place
from flyte_build.submit.kubernetes.room import Room
from flyte_build.submit.kubernetes.straight import Straight
from flyte_build.submit.kubernetes.watching import JOBS, Watcher
from flyte_build.submit.storage import Storage
from tests.support.apiserver import NAMESPACE, ApiServer, Bad

from .test_pod import DIGEST, IMAGE, spec_of

NAME = job_name("r1", "a0", 1)
BASE = "r1/meta/a0/1"


class Clock:
    """Time that a test moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """One run's launcher, and a hand that plays controller and kubelet."""

    def __init__(self, api: ApiServer, runs: Path) -> None:
        self.api = api
        self.store = MemoryStore()
        self.lines: list[str] = []
        self.clock = Clock()
        self.folder = Storage(runs, "s3://bucket").run("r1")
        self.folder.path.mkdir(parents=True)
        cluster = api.cluster(sleep=lambda _: None)
        self.wake: Callable[[str], None] = lambda job: None
        self.watcher = Watcher(cluster, "run=r1", self._changed)
        straight = self.straight = Straight(cluster, sleep=lambda _: asyncio.sleep(0))
        self.launcher = KubernetesLauncher(
            self.folder, cluster, straight, Place(NAMESPACE), Mirror("s3://bucket", runs, self.store), self.watcher,
            {DIGEST: IMAGE}, "r1-run", {"FLYTE_AWS_ENDPOINT": "http://s3"},
            said=lambda action, attempt, line: self.lines.append(line), clock=self.clock,
        )  # fmt: skip

    def _changed(self, job: str) -> None:
        self.wake(job)

    def request(self, **more: Any) -> LaunchRequest:
        log = self.folder.log("a0", 1)
        log.parent.mkdir(parents=True, exist_ok=True)
        defaults: dict[str, Any] = {"image": DIGEST, "task_spec": spec_of()}
        return LaunchRequest("r1", "a0", 1, "gpu.train", args=("a0",), env={}, log=log, **{**defaults, **more})

    def launch(self, hand: Callable[[], None], **more: Any) -> Outcome:
        """Launch, with ``hand`` in a thread of its own once the Job is there."""

        def played() -> None:
            with self.api.changed:
                assert self.api.changed.wait_for(lambda: NAME in self.api.objects.get(JOBS, {}), 60)
            hand()

        async def go() -> Outcome:
            self.wake = self.launcher.changed(asyncio.get_running_loop())
            self.watcher.start()
            thread = threading.Thread(target=played)
            thread.start()
            try:
                async with asyncio.timeout(120):  # or a hand that failed would leave it waiting
                    return await self.launcher.launch(self.request(**more))
            finally:
                await asyncio.to_thread(thread.join)
                self.straight.close()

        return asyncio.run(go())

    def until(self, line: str) -> None:
        """Wait until people were told so."""
        for _ in range(6000):
            if line in self.lines:
                return
            threading.Event().wait(0.01)
        raise AssertionError(f"{line!r} was not said; {self.lines}")

    def end(self, reason: str = "Completed", code: int = 0, phase: str = "Succeeded", **status: Any) -> None:
        state = {"terminated": {"reason": reason, "exitCode": code}}
        self.api.pod(NAME, phase, containerStatuses=[{"name": "primary", "state": state}], **status)


@pytest.fixture
def bench(api: ApiServer, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(api, tmp_path / "runs")
    yield made
    made.watcher.close()


def test_an_attempt_from_its_job_to_its_outputs(bench: Bench) -> None:
    def hand() -> None:
        bench.api.pod(NAME, "Running", containerStatuses=[{"name": "primary", "state": {"running": {}}}])
        bench.until("running on n1")
        obstore.put(bench.store, f"{BASE}/outputs.pb", b"outputs")
        obstore.put(bench.store, f"{BASE}/report.html", b"<p>")
        bench.end()

    outcome = bench.launch(hand)
    assert (outcome, outcome.left) == (Outcome(0), Left(outputs=True, report=True))
    assert obstore.get(bench.store, "r1/kept/a0/1/outputs.pb").bytes() == b"outputs"
    assert obstore.get(bench.store, "r1/kept/a0/1/report.html").bytes() == b"<p>"
    assert bench.lines[-2:] == ["running on n1", "succeeded"]
    assert bench.watcher._attempts == {}


def test_of_a_job_that_ended_before_its_pod_was_heard_of_the_log_is_there_as_well(bench: Bench) -> None:
    """Each kind has a watch of its own, and one may be far behind another."""

    def hand() -> None:
        bench.api.put("v1/pods", {"metadata": {"name": f"{NAME}-x", "labels": {"job-name": NAME}}, "status": {}})
        ended = [{"type": "Complete", "status": "True"}]
        bench.api.put(JOBS, {"metadata": {"name": NAME, "labels": {"run": "r1"}}, "status": {"conditions": ended}})

    assert bench.launch(hand) == Outcome(0)
    assert any(f"/pods/{NAME}-x/log" in asked for asked in bench.api.asked)


def test_what_a_failed_attempt_left_is_told(bench: Bench) -> None:
    def hand() -> None:
        obstore.put(bench.store, f"{BASE}/error.pb", b"error")
        obstore.put(bench.store, "r1/raw/a0/1/_flytecheckpoints/x", b"c")
        bench.end("Error", 1, "Failed")

    outcome = bench.launch(hand)
    assert (outcome, outcome.left) == (Outcome(1), Left(error=b"error"))
    assert bench.folder.checkpoints("a0", 1).is_dir(), "the next attempt is told of it"


def test_of_an_attempt_that_left_thousands_of_things_those_that_count_are_found(bench: Bench) -> None:
    def hand() -> None:
        for number in range(1000):
            obstore.put(bench.store, f"{BASE}/a{number}", b"")
        obstore.put(bench.store, f"{BASE}/outputs.pb", b"outputs")
        bench.end()

    assert bench.launch(hand).left == Left(outputs=True)


def test_its_pod_is_told_where_the_service_is_by_a_secret_alone(bench: Bench) -> None:
    bench.launch(bench.end)
    (main,) = bench.api.objects[JOBS][NAME]["spec"]["template"]["spec"]["containers"]
    assert main["env"] == [
        {"name": "FLYTE_AWS_ENDPOINT", "value": "http://s3"},
        {"name": "_FLYTE_BUILD_SERVICE", "valueFrom": {"secretKeyRef": {"name": "r1-run", "key": "endpoint"}}},
        {"name": "_U_EP_OVERRIDE", "value": "$(_FLYTE_BUILD_SERVICE)/as/a0"},
    ]


def test_a_job_that_is_there_already_is_adopted(bench: Bench) -> None:
    bench.api.put(JOBS, {"metadata": {"name": NAME, "labels": {"run": "r1"}}, "status": {}})
    bench.end()
    assert bench.launch(lambda: None) == Outcome(0)
    assert sum(a.startswith("POST") for a in bench.api.asked) == 1


def test_a_pod_that_cannot_pull_is_gone_after_its_time_and_not_before(bench: Bench) -> None:
    why = "its image r/x cannot be pulled: not found"

    def hand() -> None:
        state = {"waiting": {"reason": "ErrImagePull", "message": "rpc error: code = NotFound desc = not found"}}
        bench.api.pod(NAME, containerStatuses=[{"name": "primary", "image": "r/x", "state": state}])
        bench.until(why)
        assert NAME in bench.api.objects[JOBS]
        bench.clock.now = 14.9
        state["waiting"]["reason"] = "ImagePullBackOff"
        bench.api.pod(NAME, containerStatuses=[{"name": "primary", "image": "r/x", "state": state}])
        bench.clock.now = 15.1

    assert bench.launch(hand) == Outcome(1, "error", why, "ImagePullFailed", again=True)
    assert NAME not in bench.api.objects[JOBS], "it holds no GPU any more"


def test_what_a_container_lacks_for_ever_ends_it_at_once(bench: Bench) -> None:
    def hand() -> None:
        state = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}}
        bench.api.pod(NAME, containerStatuses=[{"name": "primary", "state": state}])

    outcome = bench.launch(hand)
    assert (outcome.code, outcome.message) == (
        "CreateContainerConfigError", 'CreateContainerConfigError: secret "x" not found',
    )  # fmt: skip
    assert NAME not in bench.api.objects[JOBS]


def test_a_wait_for_a_node_has_its_end_and_begins_anew_when_something_happened(bench: Bench) -> None:
    def queued(why: str) -> None:
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        bench.api.pod(NAME, conditions=[condition])
        bench.until(f"queued: {why}")

    def hand() -> None:
        queued("0/1 nodes are available: 1 Insufficient nvidia.com/gpu")
        bench.clock.now = 1799.0
        queued("0/2 nodes are available: 2 Insufficient nvidia.com/gpu")
        assert NAME in bench.api.objects[JOBS]
        bench.clock.now = 1801.0

    outcome = bench.launch(hand)
    assert (outcome.code, outcome.message) == (
        "Unschedulable", "no node took it: 0/2 nodes are available: 2 Insufficient nvidia.com/gpu",
    )  # fmt: skip


def test_what_is_free_of_what_it_lacks_is_in_its_line_and_in_its_end(bench: Bench) -> None:
    bench.launcher = dataclasses.replace(bench.launcher, room=Room(bench.launcher.cluster, bench.clock))
    bench.api.put("v1/nodes", {"metadata": {"name": "n"}, "status": {"allocatable": {"nvidia.com/gpu": "4"}}})
    line = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu; it asks for 4 of nvidia.com/gpu; "
    line += "free: 4 of nvidia.com/gpu on 1 node"

    def hand() -> None:
        condition = {"type": "PodScheduled", "status": "False", "message": line.partition(";")[0]}
        pod = bench.api.pod(NAME, conditions=[condition])
        asks = {"containers": [{"name": "primary", "resources": {"limits": {"nvidia.com/gpu": "4"}}}]}
        bench.api.put("v1/pods", {**pod, "spec": asks})
        bench.until(f"queued: {line}")
        bench.clock.now = 1801.0

    assert bench.launch(hand).message == f"no node took it: {line}"


def test_an_eviction_takes_the_job_away_so_that_nothing_runs_twice(bench: Bench) -> None:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    outcome = bench.launch(lambda: bench.api.pod(NAME, "Running", conditions=[condition]) and None)
    assert (outcome.reason, outcome.code) == ("lost", "Interrupted")
    assert NAME not in bench.api.objects[JOBS]


def test_an_attempt_that_is_called_off_leaves_no_job(bench: Bench) -> None:
    async def go() -> None:
        bench.wake = bench.launcher.changed(asyncio.get_running_loop())
        bench.watcher.start()
        task = asyncio.create_task(bench.launcher.launch(bench.request()))
        while NAME not in bench.api.objects.get(JOBS, {}):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())
    assert bench.api.objects[JOBS] == {}
    assert bench.watcher._attempts == {}


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ({"image": "sha256:other"}, "Unplaceable", "is in no registry that the cluster pulls from"),
        ({"task_spec": spec_of(pod_template="nobodys")}, "Unplaceable", "names the pod template nobodys, which"),
    ],
)
def test_what_cannot_be_a_pod_is_an_outcome(bench: Bench, more: dict[str, Any], code: str, said: str) -> None:
    outcome = asyncio.run(bench.launcher.launch(bench.request(**more)))
    assert (outcome.reason, outcome.code) == ("error", code)
    assert said in outcome.message
    assert bench.api.objects.get(JOBS, {}) == {}


def test_what_the_cluster_refuses_is_an_outcome(bench: Bench) -> None:
    bench.api.bad = lambda method, kind, query: Bad(403, "Forbidden", "may not") if method == "POST" else None
    outcome = asyncio.run(bench.launcher.launch(bench.request()))
    assert (outcome.reason, outcome.code) == ("error", "Forbidden")
    assert outcome.message.endswith("403 may not")


@pytest.mark.parametrize("limit", [4, 5])
def test_outputs_are_bounded_by_what_their_task_says(bench: Bench, limit: int) -> None:
    def hand() -> None:
        obstore.put(bench.store, f"{BASE}/outputs.pb", b"12345")
        bench.end()

    left = bench.launch(hand, inline=limit).left
    assert left is not None
    assert left.outputs is (limit == 5)
    assert asyncio.run(bench.launcher.mirror.has("r1/kept/a0/1/outputs.pb")) is (limit == 5)


def test_inputs_of_a_child_are_copied_within_the_storage(bench: Bench) -> None:
    obstore.put(bench.store, "r1/meta/a1/inputs.pb", b"inputs")
    target = bench.folder.inputs("a1")
    asyncio.run(bench.launcher.settle("a0", "s3://bucket/r1/meta/a1/inputs.pb", target, "inputs"))
    assert obstore.get(bench.store, "r1/kept/a1/inputs.pb").bytes() == b"inputs"
    for document in ("s3://bucket/r2/meta/a1/inputs.pb", "s3://bucket/r1/kept/x", "s3://bucket/r1/meta/../../r2/x"):
        with pytest.raises(ValueError, match="is not in s3://bucket/r1, where tasks write"):
            asyncio.run(bench.launcher.settle("a0", document, target, "inputs"))
    with pytest.raises(FileNotFoundError):
        asyncio.run(bench.launcher.settle("a0", "s3://bucket/r1/meta/a2/inputs.pb", target, "inputs"))
    with pytest.raises(door.Refused, match="has 6 bytes, and may have 5"):
        asyncio.run(bench.launcher.settle("a0", "s3://bucket/r1/meta/a1/inputs.pb", target, "inputs", 5))
