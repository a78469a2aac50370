"""Attempts of a task: retries, backoff, deadlines, and waiting for a turn."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from flyteidl2.core import execution_pb2, literals_pb2
from google.protobuf.duration_pb2 import Duration

from flyte_build.submit.action import ErrorInfo, LaunchRequest, Left, Outcome, Phase
from flyte_build.submit.attempt import Attempts
from flyte_build.submit.journal import ActionRecord
from flyte_build.submit.scheduler import Scheduler
from flyte_build.submit.specs import serialized
from flyte_build.submit.storage import Storage
from flyte_build.submit.template import read_task
from tests.support.engine import World, retries


@pytest.mark.parametrize(("recoverable", "attempts"), [(True, 3), (False, 1)])
def test_retries_are_for_what_may_recover(tmp_path: Path, recoverable: bool, attempts: int) -> None:
    world = World(tmp_path)

    async def main(request: LaunchRequest) -> Outcome:
        return world.fail(request, recoverable=recoverable)

    world.launcher.bodies["main"] = main
    record = asyncio.run(world.go(retries=retries(2)))
    assert (record.phase, record.attempt) == (Phase.FAILED, attempts)
    assert record.error == ErrorInfo("Oops", "words")
    environments = [request.env["FLYTE_ATTEMPT_NUMBER"] for request in world.launcher.requests]
    assert environments == [str(n) for n in range(attempts)]


def test_each_attempt_is_kept_with_its_end(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def main(request: LaunchRequest) -> Outcome:
        return world.fail(request)

    world.launcher.bodies["main"] = main
    record = asyncio.run(world.go(retries=retries(1)))
    assert [(a.number, a.phase, a.error) for a in record.attempts] == [
        (1, Phase.FAILED, "Oops: words"), (2, Phase.FAILED, "Oops: words")
    ]  # fmt: skip
    first, second = record.attempts
    assert record.queued <= first.started <= first.ended <= second.started <= second.ended
    assert ActionRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_in_a_storage_attempts_are_counted_though_nothing_of_them_is_here(tmp_path: Path) -> None:
    """A parent that is tried again calls anew what had failed, by the same name: that is no attempt which was."""
    world = World(tmp_path)
    folder = Storage(tmp_path / "runs", "s3://bucket").run("away")
    folder.path.mkdir()
    attempts = Attempts(dataclasses.replace(world.facts, folder=folder), world.launcher, Scheduler(4, 1 << 40))

    async def main(request: LaunchRequest) -> Outcome:
        document = execution_pb2.ErrorDocument(error=execution_pb2.ContainerError(code="Oops", message="words"))
        return Outcome(1, left=Left(error=document.SerializeToString()))

    async def changed(record: ActionRecord) -> None:
        pass

    async def go() -> list[int]:
        world.launcher.bodies["main"] = main
        spec = world.task("main").task.spec
        for _ in range(2):
            record = ActionRecord("a1", parent="a0")
            ended = await attempts.run(record, read_task(spec), serialized(spec), 1, changed)
            assert (ended.phase, ended.error) == (Phase.FAILED, ErrorInfo("Oops", "words"))
        return [request.attempt for request in world.launcher.requests]

    assert asyncio.run(go()) == [1, 2]
    assert list(folder.path.iterdir()) == []


def test_what_was_taken_from_a_task_is_none_of_its_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyte_build.submit.attempt.MOST_LOST", 3)
    world = World(tmp_path)
    taken = [2]

    async def main(request: LaunchRequest) -> Outcome:
        taken[0] -= 1
        return Outcome(137, "lost", "its node went", "Interrupted") if taken[0] >= 0 else world.fail(request)

    world.launcher.bodies["main"] = main
    record = asyncio.run(world.go(retries=retries(1)))
    assert (record.phase, record.attempt) == (Phase.FAILED, 4), "two that were taken, and the task's own two"
    assert [request.env["FLYTE_ATTEMPT_NUMBER"] for request in world.launcher.requests] == ["0", "0", "0", "1"]
    assert record.error == ErrorInfo("Oops", "words")


def test_a_cluster_that_takes_all_of_them_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyte_build.submit.attempt.MOST_LOST", 3)
    world = World(tmp_path)

    async def main(request: LaunchRequest) -> Outcome:
        return Outcome(137, "lost", "its node went", "Interrupted")

    world.launcher.bodies["main"] = main
    record = asyncio.run(world.go(retries=retries(1)))
    assert (record.phase, record.attempt) == (Phase.FAILED, 5), "three that did not count, and two that did"
    assert record.error == ErrorInfo("Interrupted", "its node went", "system")


def test_backoff_grows_up_to_its_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    waits: list[float] = []

    async def noted(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    async def main(request: LaunchRequest) -> Outcome:
        return world.fail(request)

    world.launcher.bodies["main"] = main
    # Only that module's: a server of another test may be sleeping in a thread of its own.
    monkeypatch.setattr("flyte_build.submit.attempt.asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": noted}))
    asyncio.run(world.go(retries=retries(4, 0.5, 2.0, 3.0)))
    assert waits == [0.5, 1.0, 2.0, 3.0]


def test_checkpoints_of_the_failed_attempt_are_the_next_ones_to_begin_from(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def main(request: LaunchRequest) -> Outcome:
        if request.attempt > 1:
            return Outcome(0)
        world.folder.checkpoints("a0", 1).mkdir()
        return world.fail(request)

    world.launcher.bodies["main"] = main
    action = world.task("main", retries=retries(1))
    action.task.spec.task_template.container.args.append("{{.prevCheckpointPrefix}}")

    async def go() -> None:
        await world.engine.enqueue(action)
        await world.engine.wait("a0")
        await world.engine.close()

    asyncio.run(go())
    said = [request.args[-1] for request in world.launcher.requests]
    assert said == ['""', world.storage.uri(world.folder.checkpoints("a0", 1))]


def test_a_deadline_spans_all_attempts(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def main(request: LaunchRequest) -> Outcome:
        await asyncio.sleep(0.05)
        return world.fail(request)

    world.launcher.bodies["main"] = main
    strategy = literals_pb2.TimeoutStrategy(deadline=Duration(nanos=120_000_000))
    record = asyncio.run(world.go(retries=retries(50), timeouts=strategy))
    assert record.phase is Phase.TIMED_OUT
    assert record.error == ErrorInfo("DEADLINE_EXCEEDED", "not done within its deadline of 0.12 s")
    assert 1 <= len(world.launcher.requests) <= 3


def test_deep_trees_finish_on_one_core_and_leaves_do_not_overlap(tmp_path: Path) -> None:
    world = World(tmp_path, cpu=1)
    running, most = 0, 0

    async def node(request: LaunchRequest) -> Outcome:
        nonlocal running, most
        depth = request.action.count("-")
        if depth == 3:
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1
            return Outcome(0)
        await asyncio.gather(*(world.call(request, "main", f"{request.action}-{i}") for i in range(3)))
        return Outcome(0)

    world.launcher.bodies["main"] = node
    record = asyncio.run(asyncio.wait_for(world.go(), 20))
    assert record.phase is Phase.SUCCEEDED
    assert len(world.launcher.requests) == 1 + 3 + 9 + 27
    assert most == 1


def test_a_task_waits_in_the_queue_no_longer_than_it_says(tmp_path: Path) -> None:
    world = World(tmp_path, cpu=1)
    strategy = literals_pb2.TimeoutStrategy(queued_timeout=Duration(nanos=50_000_000))

    async def main(request: LaunchRequest) -> Outcome:
        busy = asyncio.create_task(world.call(request, "busy", "busy"))
        await asyncio.sleep(0.01)
        record = await world.call(request, "late", "late", timeouts=strategy)
        assert record.error is not None
        assert record.error.code == "QUEUED_TIMEOUT_EXCEEDED"
        await world.engine.abort("busy")
        await busy
        return Outcome(0)

    async def busy(request: LaunchRequest) -> Outcome:
        await asyncio.sleep(60)
        return Outcome(0)

    world.launcher.bodies |= {"main": main, "busy": busy}
    assert asyncio.run(asyncio.wait_for(world.go(), 5)).phase is Phase.SUCCEEDED


def test_a_queue_that_a_task_names_reaches_whoever_launches_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    action = world.task("main")
    action.task.queue = "urgent"

    async def go() -> None:
        await world.engine.enqueue(action)
        await world.engine.wait("a0")
        await world.engine.close()

    asyncio.run(go())
    assert [request.queue for request in world.launcher.requests] == ["urgent"]
