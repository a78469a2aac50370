"""How many replicas there are, and which of them an action gets: without a process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from flyte_build.submit.action import LaunchRequest, Resources, ReusePolicy
from flyte_build.submit.template import Task
from flyte_build.submit.warm.forked import Lost
from flyte_build.submit.warm.replicas import Replica, Replicas


class Running:
    """A process that is there until it is stopped."""

    def __init__(self) -> None:
        self.stopped = False

    async def wait(self) -> int:
        return 137

    async def stop(self, grace: float = 5.0) -> int:
        self.stopped = True
        return 137


class Rig:
    def __init__(self, policy: ReusePolicy, waits: Callable[[str], bool] = lambda _: False) -> None:
        self.policy, self.said, self.cleaned = policy, [], []  # type: ignore[var-annotated]
        self.started: list[Replica] = []
        self.go = asyncio.Event()
        self.go.set()
        self.replicas = Replicas(waits, self.said.append, self._clean)

    async def _clean(self, replica: Replica) -> None:
        self.cleaned.append(replica)

    async def _start(self) -> Replica:
        await self.go.wait()
        running: Any = Running()
        control, _ = socket.socketpair()
        replica = Replica(running, control, (), Path("scratch"), None, policy=self.policy)
        self.started.append(replica)
        return replica

    def place(self, name: str) -> Any:
        request = LaunchRequest("r", name, 1, "env.task", "i", ("a0",), {}, Path("log"), reuse=self.policy)
        return self.replicas.place("key", request, self._start)

    @property
    def there(self) -> Any:
        return self.replicas._environments["key"]


def run(policy: ReusePolicy, body: Callable[[Rig], Any], **options: Any) -> Any:
    async def go() -> Any:
        return await body(Rig(policy, **options))

    return asyncio.run(asyncio.wait_for(go(), 20))


def test_actions_fill_a_replica_before_another_is_started() -> None:
    async def body(rig: Rig) -> None:
        async with AsyncExitStack() as stack:
            got = [await stack.enter_async_context(rig.place(f"a{n}")) for n in range(5)]
        assert [rig.started.index(replica) for replica in got] == [0, 0, 1, 1, 2]

    run(ReusePolicy(0, 3, concurrency=2), body)


def test_who_waits_waits_for_the_replica_that_is_being_started() -> None:
    async def body(rig: Rig) -> None:
        rig.go.clear()
        async with AsyncExitStack() as stack:
            calls = [asyncio.create_task(stack.enter_async_context(rig.place(f"a{n}"))) for n in range(4)]
            while rig.replicas._environments.get("key") is None or rig.there.waiting < 3:
                await asyncio.sleep(0)
            rig.go.set()
            assert {id(await call) for call in calls} == {id(rig.started[0])}

    run(ReusePolicy(0, 3, concurrency=4), body)


def test_beyond_the_most_one_waits_for_a_place() -> None:
    async def body(rig: Rig) -> None:
        async with rig.place("a") as first:
            waiting = asyncio.create_task(rig.place("b").__aenter__())
            while not rig.there.waiting:
                await asyncio.sleep(0)
            assert not waiting.done()
        assert await waiting is first
        assert rig.said == []

    run(ReusePolicy(0, 1), body)


def test_where_all_wait_for_their_children_one_more_is_started() -> None:
    async def body(rig: Rig) -> None:
        async with rig.place("parent") as first, rig.place("child") as second:
            assert first is not second
        assert len(rig.said) == 1

    run(ReusePolicy(1, 1), body, waits=lambda name: name == "parent")


def test_idle_replicas_end_down_to_the_fewest_and_then_all() -> None:
    async def body(rig: Rig) -> None:
        async with AsyncExitStack() as stack:
            first, second, third = [await stack.enter_async_context(rig.place(f"a{n}")) for n in range(3)]
            rig.replicas._scale_down(rig.there, first)
            rig.replicas._end_all(rig.there)
            assert len(rig.there.replicas) == 3, "they have something to do"
        for replica in (first, second, third):
            rig.replicas._scale_down(rig.there, replica)
        assert rig.there.replicas == [third]
        rig.replicas._end_all(rig.there)
        assert rig.there.replicas == []
        await rig.replicas.close()
        assert all(replica.running.stopped for replica in (first, second, third))
        assert rig.cleaned == [first, second, third]

    run(ReusePolicy(1, 3), body)


def test_one_that_ended_or_was_changed_takes_no_more_actions() -> None:
    async def body(rig: Rig) -> None:
        async with rig.place("a") as first:
            first.ended = True
        async with rig.place("b") as second:
            second.drained = True
        async with rig.place("c") as third:
            pass
        assert len({id(r) for r in (first, second, third)}) == 3
        await rig.replicas.close()
        assert set(map(id, rig.cleaned)) == set(map(id, (first, second, third)))

    run(ReusePolicy(0, 1), body)


def test_what_no_replica_can_be_of_is_told_once() -> None:
    async def body(rig: Rig) -> None:
        async def refuses() -> Replica:
            raise Lost("there is no runtime for it")

        rig._start = refuses  # type: ignore[method-assign]
        for name in ("a", "b"):
            async with rig.place(name) as replica:
                assert replica is None
        assert rig.said == ["environment : its `reusable` has no effect here: there is no runtime for it"]

    run(ReusePolicy(0, 1), body)


@pytest.mark.parametrize(
    ("cpu", "memory", "concurrency", "share"),
    [(None, None, 10, (0.1, None)), (2.0, 1 << 30, 4, (0.5, 1 << 28)), (None, None, 1, (1.0, None))],
)
def test_an_action_takes_its_part_of_the_machine(
    cpu: float | None, memory: int | None, concurrency: int, share: tuple[float, int | None]
) -> None:
    policy = ReusePolicy(1, 1, concurrency)
    task = Task("e.t", "e", "", (), {}, Resources(cpu=cpu, memory=memory), (), True, reuse=policy)
    assert (task.share.cpu, task.share.memory) == share


def test_an_idle_one_that_has_what_others_wait_for_ends_at_once() -> None:
    async def body(rig: Rig) -> None:
        async with rig.place("a"):
            rig.replicas.relieve(lambda _: True)
            assert not rig.started[0].running.stopped, "it is not idle"
        rig.replicas.relieve(lambda _: False)
        assert rig.there.replicas == rig.started
        rig.replicas.relieve(lambda scratch: scratch == Path("scratch"))
        await rig.replicas.close()
        assert rig.cleaned == rig.started

    run(ReusePolicy(1, 1, idle=3600.0), body)
