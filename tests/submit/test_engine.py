"""The run's rules, with a launcher that is only a function: no process, no sandbox, no SDK."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from flyteidl2.actions import actions_service_pb2 as pb
from flyteidl2.common import phase_pb2
from flyteidl2.core import literals_pb2

from flyte_build.submit.action import ErrorInfo, LaunchRequest, Outcome, Phase
from flyte_build.submit.engine import AlreadyExists, Engine, NotFound
from flyte_build.submit.journal import ActionRecord, read_journal
from flyte_build.submit.observer import Collector
from flyte_build.submit.protobuf import action_update
from tests.support.engine import World, retries


def test_a_launchers_bug_is_a_system_failure_not_a_hang(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def broken(request: LaunchRequest) -> Outcome:
        raise KeyError("bug")

    world.launcher.bodies["main"] = broken
    record = asyncio.run(asyncio.wait_for(world.go(), 5))
    assert record.phase is Phase.FAILED
    assert record.error == ErrorInfo("KeyError", "flyte-build: 'bug'", "system")


def test_no_end_is_told_before_it_is_in_the_journal_which_has_all_in_order(tmp_path: Path) -> None:
    world = World(tmp_path)
    told: list[str] = []

    def kept() -> list[ActionRecord]:
        entries = [e["action"] for e in read_journal(world.folder.journal) if "action" in e]
        return [ActionRecord.from_json(entry) for entry in entries]

    class Strict(Collector):
        def on_action(self, record: ActionRecord) -> None:
            told.append(record.phase)
            if record.phase.terminal:
                assert kept()[-1] == record

    world.engine._observer = Strict()
    asyncio.run(world.go())
    assert told == [r.phase for r in kept()] == [Phase.QUEUED, Phase.RUNNING, Phase.SUCCEEDED]


def test_children_end_with_their_parent_whatever_its_end(tmp_path: Path) -> None:
    world = World(tmp_path)
    ended: list[str] = []

    async def forever(request: LaunchRequest) -> Outcome:
        try:
            await world.call(request, "deeper", f"{request.action}-x")
            await asyncio.sleep(60)
        finally:
            ended.append(request.action)
        return Outcome(0)

    async def deeper(request: LaunchRequest) -> Outcome:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(request.action)
        return Outcome(0)

    async def main(request: LaunchRequest) -> Outcome:
        await world.engine.enqueue(world.task("forever", "c", request.action))
        while len(world.launcher.requests) < 3:
            await asyncio.sleep(0)
        return world.fail(request)

    world.launcher.bodies |= {"main": main, "forever": forever, "deeper": deeper}
    record = asyncio.run(asyncio.wait_for(world.go(), 5))
    assert record.phase is Phase.FAILED
    assert sorted(ended) == ["c", "c-x"]
    assert {r.name: r.phase for r in world.engine.records()} == {
        "a0": Phase.FAILED,
        "c": Phase.ABORTED,
        "c-x": Phase.ABORTED,
    }


def test_abort_reaches_an_action_that_has_not_even_begun(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def main(request: LaunchRequest) -> Outcome:
        await world.engine.enqueue(world.task("leaf", "c", request.action))
        await world.engine.abort("c")
        assert (await world.engine.wait("c")).phase is Phase.ABORTED
        with pytest.raises(NotFound):
            await world.engine.abort("c")
        with pytest.raises(NotFound):
            await world.engine.abort("nobody")
        return Outcome(0)

    world.launcher.bodies["main"] = main
    assert asyncio.run(asyncio.wait_for(world.go(), 5)).phase is Phase.SUCCEEDED


def test_a_call_is_taken_once_and_anew_only_after_a_failed_attempt(tmp_path: Path) -> None:
    world = World(tmp_path)
    calls: list[int] = []

    async def leaf(request: LaunchRequest) -> Outcome:
        calls.append(request.attempt)
        return world.fail(request) if len(calls) == 1 else Outcome(0)

    async def main(request: LaunchRequest) -> Outcome:
        record = await world.call(request, "leaf", "c")
        with pytest.raises(AlreadyExists):
            await world.engine.enqueue(world.task("leaf", "c", request.action))
        told = [r async for r in _until_sentinel(world.engine, request.action)]
        assert [r.phase for r in told] == [record.phase]
        return world.fail(request) if record.phase is Phase.FAILED else Outcome(0)

    world.launcher.bodies |= {"main": main, "leaf": leaf}
    record = asyncio.run(asyncio.wait_for(world.go(retries=retries(1)), 5))
    assert record.phase is Phase.SUCCEEDED
    assert record.attempt == 2
    assert calls == [1, 2]  # the second attempt of the child has a folder of its own


async def _until_sentinel(engine: Engine, parent: str) -> Any:
    async for record in engine.watch(parent):
        if record is None:
            return
        yield record


def test_a_watcher_hears_what_was_then_what_comes_then_the_end(tmp_path: Path) -> None:
    world = World(tmp_path)
    heard: list[str | None] = []

    async def main(request: LaunchRequest) -> Outcome:
        await world.call(request, "leaf", "one")
        watching = asyncio.create_task(watch())
        while None not in heard:
            await asyncio.sleep(0)
        await world.call(request, "leaf", "two")
        world.watching = watching  # type: ignore[attr-defined]
        return Outcome(0)

    async def watch() -> None:
        async for record in world.engine.watch("a0"):
            heard.append(None if record is None else f"{record.name} {record.phase}")

    async def go() -> None:
        await world.go()
        await asyncio.wait_for(world.watching, 1)  # type: ignore[attr-defined]

    world.launcher.bodies["main"] = main
    asyncio.run(asyncio.wait_for(go(), 5))
    assert heard == ["one succeeded", None, "two queued", "two running", "two succeeded"]


@pytest.mark.parametrize(("name", "parent"), [("c", "nobody"), ("c", ""), ("a0", "nobody")])
def test_an_action_without_a_living_parent_is_refused(tmp_path: Path, name: str, parent: str) -> None:
    world = World(tmp_path)

    async def go() -> None:
        with pytest.raises(NotFound):
            await world.engine.enqueue(world.task("leaf", name, parent))
        await world.go()
        with pytest.raises(NotFound):
            await world.engine.enqueue(world.task("leaf", "late", "a0"))

    asyncio.run(go())


def test_a_serialized_cache_computes_once(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def main(request: LaunchRequest) -> Outcome:
        options = {"cache_key": "k", "cache_serializable": True}
        records = await asyncio.gather(*(world.call(request, "leaf", f"c{i}", **options) for i in range(4)))
        assert sorted(r.source for r in records) == ["", "cache", "cache", "cache"]
        assert len({r.output_uri for r in records}) == 1
        return Outcome(0)

    async def leaf(request: LaunchRequest) -> Outcome:
        await asyncio.sleep(0.02)
        return Outcome(0)

    world.launcher.bodies |= {"main": main, "leaf": leaf}
    record = asyncio.run(asyncio.wait_for(world.go(), 10))
    assert record.phase is Phase.SUCCEEDED, record.error
    assert [r.task for r in world.launcher.requests].count("leaf") == 1


@pytest.mark.parametrize(
    ("change", "source"),
    [({}, "resume"), ({"image": "sha256:other"}, ""), ({"bundle": "sha256:other"}, ""), ({"phase": Phase.FAILED}, "")],
)
def test_only_the_same_code_on_the_same_image_is_resumed(tmp_path: Path, change: dict[str, Any], source: str) -> None:
    before = ActionRecord("a0", task="main", image="sha256:aa", bundle="sha256:bb", phase=Phase.SUCCEEDED)
    world = World(tmp_path, {"a0": before.replace(output_uri="/mnt/flyte/runs/old/meta/a0/1", **change)})
    record = asyncio.run(world.go())
    assert record.phase is Phase.SUCCEEDED
    assert record.source == source
    assert len(world.launcher.requests) == (0 if source else 1)


def test_traces_are_recorded_and_told_again_to_a_resumed_run(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def main(request: LaunchRequest) -> Outcome:
        for name, phase in (("t", phase_pb2.ACTION_PHASE_SUCCEEDED), ("f", phase_pb2.ACTION_PHASE_FAILED)):
            action = pb.Action(action_id=world.id(name), parent_action_name="a0")
            action.trace.name, action.trace.phase = "step", phase
            await world.engine.enqueue(action)
        return Outcome(0)

    world.launcher.bodies["main"] = main
    asyncio.run(world.go())
    before = {r.name: r for r in world.engine.records()}
    assert (before["t"].phase, before["f"].phase) == (Phase.SUCCEEDED, Phase.FAILED)
    assert not action_update(before["f"], world.run).HasField("error")

    again = World(tmp_path / "again", {k: v for k, v in before.items() if k != "a0"})
    told: list[str] = []

    async def resumed(request: LaunchRequest) -> Outcome:
        told.extend([r.name async for r in _until_sentinel(again.engine, "a0")])
        return Outcome(0)

    again.launcher.bodies["main"] = resumed
    asyncio.run(again.go())
    assert told == ["t"]
    assert {r.name: r.source for r in again.engine.records()}["t"] == "resume"


def test_conditions_wait_for_their_signal_or_time_out(tmp_path: Path) -> None:
    world = World(tmp_path)
    value = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(boolean=True)))

    async def main(request: LaunchRequest) -> Outcome:
        for name in ("yes", "late"):
            action = pb.Action(action_id=world.id(name), parent_action_name="a0")
            action.condition.name = name
            action.condition.timeout.FromMilliseconds(50 if name == "late" else 5000)
            await world.engine.enqueue(action)
        with pytest.raises(NotFound):
            await world.engine.signal("nobody", value)
        await world.engine.signal("yes", value)
        yes, late = await world.engine.wait("yes"), await world.engine.wait("late")
        assert action_update(yes, world.run).value == value
        assert late.phase is Phase.TIMED_OUT
        return Outcome(0)

    world.launcher.bodies["main"] = main
    assert asyncio.run(asyncio.wait_for(world.go(), 5)).phase is Phase.SUCCEEDED


def test_an_image_that_is_not_the_runs_is_refused_by_environment(tmp_path: Path) -> None:
    world = World(tmp_path)
    record = asyncio.run(world.go(task="far.away", image="registry.example/far:latest"))
    assert record.phase is Phase.FAILED
    assert record.error is not None
    assert record.error.code == "ImageNotPinned"
    assert "environment far of task far.away has no image in this run" in record.error.message
    assert world.launcher.requests == []


def test_a_task_of_another_kind_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    action = world.task("main")
    del action.task.spec.task_template.container.args[:]
    action.task.spec.task_template.container.args.extend(["sh", "-c", "true"])

    async def go() -> ActionRecord:
        await world.engine.enqueue(action)
        record = await world.engine.wait("a0")
        await world.engine.close()
        return record

    record = asyncio.run(go())
    assert record.error is not None
    assert record.error.code == "Unsupported"
    assert "runs `sh -c true`, expected flyte's own `a0`" in record.error.message


def test_the_contracts_variables_and_arguments(tmp_path: Path) -> None:
    world = World(tmp_path)
    asyncio.run(world.go())
    (request,) = world.launcher.requests
    assert request.args == (
        "a0",
        "--inputs",
        "/mnt/flyte/runs/run/kept/a0/inputs.pb",
        "--outputs-path",
        "/mnt/flyte/runs/run/meta/a0/1",
    )
    assert request.env == {
        "ACTION_NAME": "a0",
        "RUN_NAME": "run",
        "_U_RUN_BASE": "/mnt/flyte/runs/run/meta",
        "_U_ORG_NAME": "o",
        "FLYTE_INTERNAL_EXECUTION_PROJECT": "p",
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": "d",
        "FLYTE_ATTEMPT_NUMBER": "0",
        "FSSPEC_FILE_AUTO_MKDIR": "1",
        "_U_USE_ACTIONS": "1",
        "_U_INSECURE": "true",
    }
