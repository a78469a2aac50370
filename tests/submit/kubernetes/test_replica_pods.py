"""Replicas as pods, on an API of our own: a hand plays their pods, and their processes ask as real ones do."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from flyte_build.submit.action import LaunchRequest, Outcome, ReusePolicy
from flyte_build.submit.kubernetes.launcher import KubernetesLauncher
from flyte_build.submit.kubernetes.mirror import Mirror
from flyte_build.submit.kubernetes.names import job_name
from flyte_build.submit.kubernetes.pod import Place
from flyte_build.submit.kubernetes.replica_pods import ReplicaPods
from flyte_build.submit.kubernetes.straight import Straight
from flyte_build.submit.kubernetes.watching import JOBS, Watcher
from flyte_build.submit.storage import Storage
from tests.support.apiserver import NAMESPACE, ApiServer

from .test_pod import DIGEST, IMAGE, spec_of

POLICY = ReusePolicy(0, 1, concurrency=2, idle=3600, scaledown=3600)
FIRST, SECOND = (job_name("r1", f"replica{n}", 7) for n in (1, 2))
OWNER = {"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "u"}
Body = Callable[["Bench"], Awaitable[None]]


class Bench:
    """One run's launcher with its replicas, on ``api``."""

    def __init__(self, api: ApiServer, runs: Path) -> None:
        self.api = api
        self.said: list[str] = []
        self.lines: list[tuple[str, str]] = []
        self.folder = Storage(runs, "s3://bucket").run("r1")
        self.folder.path.mkdir(parents=True)
        cluster = api.cluster(sleep=lambda _: None)
        self.watcher = Watcher(cluster, "run=r1", self._changed)
        mirror = Mirror("s3://bucket", runs, MemoryStore())
        self.pods = ReplicaPods(self.folder, 7, cluster, mirror, self.watcher, lambda _: False, self.said.append)
        self.straight = Straight(cluster, sleep=lambda _: asyncio.sleep(0))
        self.launcher = KubernetesLauncher(
            self.folder, cluster, self.straight, Place(NAMESPACE, owner=OWNER), mirror,
            self.watcher, {DIGEST: IMAGE}, "r1-run", replicas=self.pods,
            said=lambda action, attempt, line: self.lines.append((action, line)),
        )  # fmt: skip
        self._wake = self.launcher.changed(asyncio.get_running_loop())
        self.watcher.start()

    def _changed(self, job: str) -> None:
        self._wake(job)

    def launch(self, name: str, **more: Any) -> asyncio.Task[Outcome]:
        log = self.folder.log(name, 1)
        log.parent.mkdir(parents=True, exist_ok=True)
        defaults: dict[str, Any] = {"args": ("a0", name), "task_spec": spec_of(), "reuse": POLICY, "environment": "gpu"}
        env = {"ACTION_NAME": name, "FLYTE_ATTEMPT_NUMBER": "0", "RUN_NAME": "r1"}
        request = LaunchRequest("r1", name, 1, "gpu.train", image=DIGEST, env=env, log=log, **{**defaults, **more})
        return asyncio.create_task(self.launcher.launch(request))

    async def until(self, there: Callable[[], Any]) -> None:
        async with asyncio.timeout(60):
            while not there():
                await asyncio.sleep(0.005)

    async def job(self, name: str) -> dict[str, Any]:
        await self.until(lambda: name in self.api.objects.get(JOBS, {}))
        return self.api.objects[JOBS][name]

    async def pod(self, name: str, state: dict[str, Any], phase: str = "Running") -> None:
        await self.job(name)
        self.api.pod(name, phase, containerStatuses=[{"name": "primary", "state": state}])

    async def ready(self, name: str = FIRST) -> Process:
        await self.pod(name, {"running": {}})
        process = Process(self.pods, name)
        assert await process.say({"ready": True}) == 200
        return process


class Process:
    """What runs in a replica's pod, as the driver hears of it."""

    def __init__(self, pods: ReplicaPods, name: str, itself: str = "p1") -> None:
        self.pods, self.me = pods, {"replica": name, "process": itself}
        self.number = self.after = 0

    async def ask(self, what: str, **more: Any) -> tuple[int, Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"body": json.dumps({**self.me, **more}).encode()}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.pods({"path": f"/replicas/{what}"}, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])

    async def say(self, message: Any, again: bool = False) -> int:
        self.number += not again
        return (await self.ask("said", number=self.number, message=message))[0]

    async def orders(self) -> list[Any]:
        _, answer = await self.ask("orders", after=self.after)
        self.after = max(order["number"] for order in answer["orders"])
        return list(answer["orders"])

    async def end(self, order: Any, code: int = 0, printed: bytes = b"") -> None:
        assert await self.say({"id": order["id"], "log": base64.b64encode(printed).decode()}) == 200
        assert await self.say({"id": order["id"], "code": code, "changed": None}) == 200


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes here, an action that is asked to end does so in time."""
    monkeypatch.setattr("flyte_build.submit.warm.member.GRACE_SECONDS", 1000.0)


@pytest.fixture
def bench(api: ApiServer, tmp_path: Path) -> Callable[[Body], Bench]:
    def run(body: Body) -> Bench:
        async def go() -> Bench:
            made = Bench(api, tmp_path / "runs")
            try:
                async with asyncio.timeout(100):
                    await body(made)
                    await made.pods.close()
            finally:
                made.watcher.close()
                made.straight.close()
            return made

        return asyncio.run(go())

    return run


def test_two_actions_in_one_pod(bench: Callable[[Body], Bench], api: ApiServer) -> None:
    async def body(rig: Bench) -> None:
        one, two = rig.launch("a1"), rig.launch("a2")
        process = await rig.ready()
        orders = await process.orders()
        if len(orders) == 1:
            orders += await process.orders()
        assert sorted(order["argv"] for order in orders) == [["a0", "a1"], ["a0", "a2"]]
        await rig.until(lambda: rig.pods.replica(FIRST).where)
        for order in orders:
            await process.end(order, 0, f"words of {order['argv'][1]}".encode())
        assert [await one, await two] == [Outcome(0), Outcome(0)]
        program = api.objects["v1/secrets"]["run-r1-82f3e9c695-replica"]
        assert {"worker.py", "replica.py", "calling.py"} < program["stringData"].keys()
        assert program["metadata"]["ownerReferences"] == [OWNER]
        assert list(api.objects[JOBS]) == [FIRST], "no action has a Job of its own"

    rig = bench(body)
    assert [rig.folder.log(name, 1).read_text() for name in ("a1", "a2")] == ["words of a1", "words of a2"]
    assert ("a1", f"runs in replica {FIRST} on n1") in rig.lines
    assert (api.objects[JOBS], api.objects["v1/secrets"]) == ({}, {}), "they end with their run"


def test_an_order_is_given_again_until_it_came_and_a_word_is_heard_once(bench: Callable[[Body], Bench]) -> None:
    async def body(rig: Bench) -> None:
        one = rig.launch("a1")
        process = await rig.ready()
        (order,) = (await process.ask("orders", after=0))[1]["orders"]
        assert (await process.ask("orders", after=0))[1]["orders"] == [order], "its answer was lost"
        log = {"id": order["id"], "log": base64.b64encode(b"once").decode()}
        await process.say(log)
        assert await process.say(log, again=True) == 200
        assert await process.say({"id": order["id"], "code": 0}) == 200
        assert await process.say({"id": order["id"], "code": 9}, again=True) == 200
        assert await one == Outcome(0)

    assert bench(body).folder.log("a1", 1).read_text() == "once"


def test_neighbours_of_a_pod_that_dies_run_again_in_pods_of_their_own(
    bench: Callable[[Body], Bench], api: ApiServer
) -> None:
    async def body(rig: Bench) -> None:
        one, two = rig.launch("a1"), rig.launch("a2")
        process = await rig.ready()
        await rig.until(lambda: len([line for _, line in rig.lines if "in replica" in line]) == 2)
        assert len(await process.orders()) == 2
        await rig.pod(FIRST, {"terminated": {"reason": "Error", "exitCode": 3}}, "Failed")
        assert [(await task).reason for task in (one, two)] == ["lost", "lost"]
        again, own = rig.launch("a1"), job_name("r1", "a1", 1)
        await rig.pod(own, {"terminated": {"reason": "Completed", "exitCode": 0}}, "Succeeded")
        assert await again == Outcome(0)

    bench(body)


@pytest.mark.parametrize("how", ["another process", "suspended", "left"])
def test_a_pod_that_is_taken_away_is_no_actions_fault(bench: Callable[[Body], Bench], api: ApiServer, how: str) -> None:
    async def body(rig: Bench) -> None:
        one = rig.launch("a1")
        await (await rig.ready()).orders()
        if how == "suspended":
            await rig.until(lambda: rig.pods.replica(FIRST).where)
            job = api.objects[JOBS][FIRST]
            api.put(JOBS, {**job, "spec": {**job["spec"], "suspend": True}})
        elif how == "left":
            await rig.pod(FIRST, {"terminated": {"reason": "Error", "exitCode": 75}}, "Failed")
        else:
            assert (await Process(rig.pods, FIRST, "p2").ask("orders", after=0))[0] == 410
        assert (await one).reason == "lost"
        await rig.until(lambda: FIRST not in api.objects[JOBS])

    bench(body)


def test_a_timeout_and_an_abort_end_an_action_and_not_its_pod(bench: Callable[[Body], Bench]) -> None:
    async def body(rig: Bench) -> None:
        late, aborted = rig.launch("a1", timeout=0.01), rig.launch("a2")
        process = await rig.ready()
        seen: list[Any] = []
        while not [order for order in seen if "cancel" in order] or len(seen) < 3:
            seen += await process.orders()
        began = {order["argv"][1]: order for order in seen if "argv" in order}
        assert [order["cancel"] for order in seen if "cancel" in order] == [began["a1"]["id"]]
        await process.end(began["a1"], 143)
        assert (await late).reason == "timeout"
        aborted.cancel()
        assert [order["cancel"] for order in await process.orders()] == [began["a2"]["id"]]
        await process.end(began["a2"], 143)
        with contextlib.suppress(asyncio.CancelledError):
            await aborted
        after = rig.launch("a3")
        await process.end((await process.orders())[0])
        assert await after == Outcome(0)

    bench(body)


def test_where_no_process_can_be_a_replica_actions_have_pods_of_their_own(
    bench: Callable[[Body], Bench], api: ApiServer
) -> None:
    async def body(rig: Bench) -> None:
        one, two = rig.launch("a1"), job_name("r1", "a1", 1)
        await rig.pod(FIRST, {"running": {}})
        await Process(rig.pods, FIRST).say({"refused": "this flyte is too old"})
        await rig.pod(two, {"terminated": {"reason": "Completed", "exitCode": 0}}, "Succeeded")
        assert await one == Outcome(0)
        assert FIRST not in api.objects[JOBS]

    assert bench(body).said == ["environment gpu: its `reusable` has no effect here: this flyte is too old"]


def test_what_keeps_a_pod_from_being_is_said_of_the_action(bench: Callable[[Body], Bench]) -> None:
    async def body(rig: Bench) -> None:
        one = rig.launch("a1")
        await rig.pod(FIRST, {"waiting": {"reason": "InvalidImageName", "message": "no image"}}, "Pending")
        outcome = await one
        assert (outcome.reason, outcome.code) == ("error", "InvalidImageName")

    assert bench(body).said == []


def test_what_an_earlier_driver_left_is_ended(bench: Callable[[Body], Bench], api: ApiServer) -> None:
    shared = {"run": "r1", "app.kubernetes.io/component": "replica"}
    for name, labels in (("old", shared), ("attempt", {"run": "r1"})):
        api.put(JOBS, {"metadata": {"name": name, "labels": labels}})
    api.pod("old", "Running")

    async def body(rig: Bench) -> None:
        await rig.pods.sweep()

    bench(body)
    assert list(api.objects[JOBS]) == ["attempt"]
    assert api.objects["v1/pods"] == {}


def test_strangers_words_are_refused(bench: Callable[[Body], Bench]) -> None:
    async def body(rig: Bench) -> None:
        one = rig.launch("a1")
        process = await rig.ready()
        assert await process.say({"id": 99, "code": 0}) == 400
        assert (await process.ask("orders"))[0] == 400
        assert (await process.ask("else", after=0))[0] == 404
        assert (await Process(rig.pods, "nobody").ask("orders", after=0))[0] == 410
        await process.end((await process.orders())[0])
        await one

    bench(body)
