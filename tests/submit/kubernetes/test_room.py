"""What is free, in the line of those that wait for it: as much as the account may see, and at what cost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flyte_build.submit.action import Outcome
from flyte_build.submit.kubernetes.room import Room
from flyte_build.submit.kubernetes.sight import Sight, look
from tests.support.apiserver import ApiServer, Bad

GPU = "nvidia.com/gpu"
NODES, PODS = "/api/v1/nodes", "/api/v1/pods"
MESSAGE = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: none"
ASKS = "queued: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu; it asks for 4 of nvidia.com/gpu"


def node(api: ApiServer, name: str, gpus: int = 4, *taints: dict[str, str], **labels: str) -> None:
    status = {"allocatable": {GPU: str(gpus), "memory": "64Gi"}} if gpus else {"allocatable": {}}
    api.put(
        "v1/nodes", {"metadata": {"name": name, "labels": labels}, "spec": {"taints": list(taints)}, "status": status}
    )


def pod(api: ApiServer, name: str, on: str, gpus: int, phase: str = "Running", **spec: Any) -> None:
    containers = [{"name": "c", "resources": {"limits": {GPU: str(gpus), "memory": "16Gi"}}}]
    value = {
        "metadata": {"name": name}, "spec": {"containers": containers, **({"nodeName": on} if on else {}), **spec},
        "status": {"phase": phase},
    }  # fmt: skip
    api.put("v1/pods", value)


def waiting(message: str = MESSAGE, **spec: Any) -> Sight:
    containers = [{"name": "c", "resources": {"limits": {GPU: "4", "memory": "48Gi"}}}]
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    value = {
        "metadata": {"name": "p"},
        "spec": {"containers": containers, **spec},
        "status": {"conditions": [condition]},
    }
    return look({"metadata": {}}, [value], unscheduled=60.0)


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def room(api: ApiServer, now: list[float]) -> Room:
    node(api, "n1")
    node(api, "n2")
    node(api, "cpu", 0)
    pod(api, "a", "n1", 2)
    pod(api, "b", "n2", 3)
    pod(api, "over", "n1", 1, "Succeeded")
    pod(api, "failed", "n1", 1, "Failed")
    pod(api, "waits", "", 4, "Pending")
    return Room(api.cluster(sleep=lambda _: None), lambda: now[0])


def told(room: Room, *sights: Sight) -> list[Sight]:
    async def go() -> list[Sight]:
        return [await room.told("job", sight) for sight in sights]

    return asyncio.run(go())


def test_what_nodes_have_left_is_said(room: Room) -> None:
    (found,) = told(room, waiting())
    assert found.line == f"{ASKS}; free: 3 of {GPU} on 2 nodes, at most 2 on one"
    assert found.outcome == Outcome(1, "error", f"no node took it: {found.line[8:]}", "Unschedulable")
    assert (found.key, found.patience) == ("unschedulable", 60.0)


def test_only_nodes_that_could_take_it_are_counted(api: ApiServer, room: Room) -> None:
    node(api, "n3", 8, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    node(api, "n4", 8, {"key": "team", "effect": "NoSchedule", "value": "other"})
    node(api, "n5", 8, {"key": "later", "effect": "PreferNoSchedule"}, pool="b")
    (found,) = told(room, waiting(nodeSelector={"pool": "b"}))
    assert found.line == f"{ASKS}; free: 8 of {GPU} on 1 node"


def test_each_resource_that_is_lacking_is_said(room: Room) -> None:
    message = "0/3 nodes are available: 2 Insufficient nvidia.com/gpu, 1 Insufficient memory."
    (found,) = told(room, waiting(message))
    assert found.line.endswith(
        f"; free: 3 of {GPU} on 2 nodes, at most 2 on one; 96.0Gi of memory on 2 nodes, at most 48.0Gi on one"
    )


def test_what_no_node_ever_has_is_said_so(api: ApiServer) -> None:
    node(api, "n1", 2)
    room = Room(api.cluster(sleep=lambda _: None))
    assert told(room, waiting())[0].line == f"{ASKS}; none of 1 nodes could ever hold it: 1 with at most 2 of {GPU}"


def test_what_other_namespaces_have_may_not_be_known(api: ApiServer, room: Room) -> None:
    api.refused = {PODS}
    (found,) = told(room, waiting())
    assert (
        found.line == f"{ASKS}; free: 3 of {GPU} on 2 nodes, at most 2 on one, less what pods of other namespaces have"
    )


@pytest.mark.parametrize("gpus", [5, 0])
def test_with_the_rights_of_a_namespace_what_its_pods_have_is_said(api: ApiServer, room: Room, gpus: int) -> None:
    api.refused = {NODES, PODS}
    if not gpus:
        api.objects["v1/pods"].clear()
    assert told(room, waiting())[0].line == f"{ASKS}; pods of this namespace have {gpus or 'none'} of {GPU}"


def test_what_does_not_lack_room_is_left_as_it_is(api: ApiServer, room: Room) -> None:
    untolerated = waiting("0/3 nodes are available: 3 node(s) had untolerated taint(s).")
    running = Sight("running", "running on n1", "running")
    assert told(room, untolerated, running) == [untolerated, running]
    assert api.asked == []


def test_a_cluster_that_does_not_answer_is_no_matter(api: ApiServer, room: Room) -> None:
    api.bad = lambda method, kind, query: Bad(500)
    assert told(room, waiting())[0].line == ASKS


def test_one_look_serves_all_who_wait(api: ApiServer, room: Room, now: list[float]) -> None:
    async def go() -> None:
        found = await asyncio.gather(*(room.told(f"job-{n}", waiting()) for n in range(50)))
        assert {sight.line for sight in found} == {f"{ASKS}; free: 3 of {GPU} on 2 nodes, at most 2 on one"}
        assert len(api.asked) == 2
        now[0] = 14.0
        await room.told("late", waiting())
        assert len(api.asked) == 2, "it holds for a while"
        pod(api, "c", "n1", 1)
        now[0] = 61.0
        again = await room.told("job-0", waiting())
        assert again.line == f"{ASKS}; free: 3 of {GPU} on 2 nodes, at most 2 on one", "many wait: it is told seldom"
        new = await room.told("job-1", waiting(MESSAGE.replace("0/3", "0/4")))
        assert new.line.endswith(f"; free: 2 of {GPU} on 2 nodes, at most 1 on one"), "the scheduler says another thing"

    asyncio.run(go())


def test_one_that_waits_alone_hears_the_latest(api: ApiServer, room: Room, now: list[float]) -> None:
    async def go() -> None:
        await room.told("job", waiting())
        api.put("v1/pods", api.objects["v1/pods"]["b"], "DELETED")
        now[0] = 59.0
        assert (await room.told("job", waiting())).line.endswith("at most 2 on one")
        now[0] = 60.0
        assert (await room.told("job", waiting())).line.endswith(f"free: 6 of {GPU} on 2 nodes, at most 4 on one")
        room.forget("job")
        asked = len(api.asked)
        await room.told("job", waiting())
        assert len(api.asked) == asked + 2, "nothing is kept for nobody"

    asyncio.run(go())


def test_what_may_not_be_asked_for_is_asked_for_once(api: ApiServer, room: Room, now: list[float]) -> None:
    api.refused = {NODES, PODS}
    told(room, waiting())
    now[0] = 100.0
    told(room, waiting())
    assert [a.partition("?")[0] for a in api.asked].count(f"GET {NODES}") == 1
    assert [a.partition("?")[0] for a in api.asked].count(f"GET {PODS}") == 0


def test_nobody_waits_for_a_look_that_takes_long(api: ApiServer, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyte_build.submit.kubernetes.room._WAIT", 0.01)

    async def go() -> None:
        let_go = asyncio.Event()

        async def late(ask: Any) -> Any:
            await let_go.wait()
            return ask()

        monkeypatch.setattr("flyte_build.submit.kubernetes.room.asyncio.to_thread", late)
        assert (await room.told("job", waiting())).line == ASKS
        let_go.set()
        await asyncio.sleep(0.05)
        assert (await room.told("job", waiting())).line.endswith("at most 2 on one")

    asyncio.run(go())
