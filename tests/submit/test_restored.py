"""A driver that begins anew in the middle of a run: what ran goes on, what ended stays, nothing runs twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from flyte_build.submit.action import LaunchRequest, Outcome, Phase
from flyte_build.submit.journal import ActionRecord
from flyte_build.submit.live import ChildRun
from flyte_build.submit.restored import Restored, restored
from tests.support.engine import World, retries


def entry(name: str, phase: Phase, parent: str = "", **more: Any) -> dict[str, Any]:
    return {"action": ActionRecord(name, parent, phase=phase, image="sha256:aa", bundle="sha256:bb", **more).to_json()}


def test_parents_come_first_and_the_last_word_counts(tmp_path: Path) -> None:
    world = World(tmp_path)
    actions = {"c": world.task("leaf", "c", "b"), "b": world.task("mid", "b", "a0"), "a0": world.task("main")}
    journal = [
        {"driver": 1},
        entry("a0", Phase.QUEUED),
        entry("a0", Phase.RUNNING, attempt=1),
        entry("b", Phase.RUNNING, "a0", attempt=2, retry=1),
    ]
    found = restored(actions, journal)
    assert [(r.record.name, r.record.phase, r.record.attempt) for r in found] == [
        ("a0", Phase.RUNNING, 1), ("b", Phase.RUNNING, 2), ("c", Phase.QUEUED, 0),
    ]  # fmt: skip
    assert all(r.action is not None and r.announced for r in found)


def test_what_failed_before_its_parents_attempt_is_not_announced(tmp_path: Path) -> None:
    world = World(tmp_path)
    actions = {"a0": world.task("main"), **{n: world.task("leaf", n, "a0") for n in ("old", "new", "good")}}
    journal = [
        entry("a0", Phase.RUNNING, attempt=1),
        entry("old", Phase.FAILED, "a0", attempt=1),
        entry("good", Phase.SUCCEEDED, "a0", attempt=1),
        entry("a0", Phase.RUNNING, attempt=2),
        # Times would say otherwise; they may be another machine's.
        entry("new", Phase.FAILED, "a0", attempt=1, ended=-1.0),
    ]
    found = {r.record.name: r for r in restored(actions, journal)}
    assert {n: r.announced for n, r in found.items()} == {"a0": True, "old": False, "good": True, "new": True}
    assert [n for n, r in found.items() if r.action is not None] == ["a0"], "the others have ended"


def test_a_child_of_what_has_ended_does_not_begin(tmp_path: Path) -> None:
    world = World(tmp_path)
    actions = {"a0": world.task("main"), "late": world.task("leaf", "late", "a0")}
    (root, late) = restored(actions, [entry("a0", Phase.FAILED)])
    assert (late.record.phase, late.action, root.record.phase) == (Phase.ABORTED, None, Phase.FAILED)


def test_a_child_run_goes_on_though_who_started_it_has_ended(tmp_path: Path) -> None:
    """With the variables of its own, which its journal has and no action."""
    world = World(tmp_path)
    child = world.task("leaf", "mine", "a0")
    told = {"name": "mine", "env": {"SAID": "so"}, "refresh": True}
    for journal in (
        [entry("a0", Phase.SUCCEEDED)],
        [entry("a0", Phase.SUCCEEDED), entry("mine", Phase.QUEUED, run="mine")],
    ):
        (_, found) = before = restored({"a0": world.task("main"), "mine": child}, [{"child": told}, *journal])
        assert (found.record.run, found.record.phase, found.child) == (
            "mine",
            Phase.QUEUED,
            ChildRun({"SAID": "so"}, True),
        )

    async def go() -> None:
        await world.engine.restore(before)
        await world.engine.rest()
        await world.engine.close()
        world.journal.close()

    asyncio.run(go())
    (request,) = world.launcher.requests
    assert (request.action, request.env["SAID"]) == ("mine", "so")


def _go(world: World, before: list[Restored]) -> ActionRecord:
    async def go() -> ActionRecord:
        try:
            await world.engine.restore(before)
            return await asyncio.wait_for(world.engine.wait("a0"), 20)
        finally:
            await world.engine.close()
            world.journal.close()

    return asyncio.run(go())


def test_an_attempt_that_was_begun_is_gone_on_with_and_only_said_again_when_it_ends(tmp_path: Path) -> None:
    world = World(tmp_path)
    root = ActionRecord(
        "a0", task="main", phase=Phase.RUNNING, attempt=3, retry=1, image="sha256:aa", bundle="sha256:bb"
    )
    record = _go(world, [Restored(root, world.task("main", retries=retries(2)))])
    assert (record.phase, record.attempt) == (Phase.SUCCEEDED, 3)
    (request,) = world.launcher.requests
    assert (request.attempt, request.env["FLYTE_ATTEMPT_NUMBER"]) == (3, "1")
    assert [r.phase for r in world.observer.records] == [Phase.RUNNING, Phase.SUCCEEDED]


def test_its_retries_are_those_that_were_left(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def main(request: LaunchRequest) -> Outcome:
        return world.fail(request)

    world.launcher.bodies["main"] = main
    root = ActionRecord(
        "a0", task="main", phase=Phase.RUNNING, attempt=3, retry=1, image="sha256:aa", bundle="sha256:bb"
    )
    record = _go(world, [Restored(root, world.task("main", retries=retries(2)))])
    assert record.phase is Phase.FAILED
    assert [(r.attempt, r.env["FLYTE_ATTEMPT_NUMBER"]) for r in world.launcher.requests] == [(3, "1"), (4, "2")]


def test_a_parent_finds_what_its_children_came_to(tmp_path: Path) -> None:
    world = World(tmp_path)
    told: list[tuple[str, Phase]] = []

    async def main(request: LaunchRequest) -> Outcome:
        await world.engine.wait("going")
        async for update in world.engine.watch("a0"):
            if update is None:
                break
            told.append((update.name, update.phase))
        await world.call(request, "leaf", "failed")
        return Outcome(0)

    world.launcher.bodies["main"] = main
    running = ActionRecord("a0", task="main", phase=Phase.RUNNING, attempt=1, image="sha256:aa", bundle="sha256:bb")
    before = [
        Restored(running, world.task("main")),
        Restored(running.replace(name="done", parent="a0", phase=Phase.SUCCEEDED)),
        Restored(running.replace(name="failed", parent="a0", phase=Phase.FAILED), announced=False),
        Restored(running.replace(name="going", parent="a0"), world.task("leaf", "going", "a0")),
    ]
    assert _go(world, before).phase is Phase.SUCCEEDED
    assert told == [("done", Phase.SUCCEEDED), ("going", Phase.SUCCEEDED)]
    assert sorted(r.action for r in world.launcher.requests) == ["a0", "failed", "going"], "and `done` did not run"
