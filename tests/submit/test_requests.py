"""What people ask of a run while it runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from flyteidl2.actions import actions_service_pb2 as pb
from flyteidl2.core import literals_pb2

from flyte_build.submit.action import LaunchRequest, Outcome, Phase
from flyte_build.submit.journal import ActionRecord
from flyte_build.submit.requests import FolderInbox, obey
from tests.support.engine import World

VALUE = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(boolean=True)))


def ask(world: World, **request: str) -> None:
    FolderInbox.put(world.folder, json.dumps(request).encode())


def _go(world: World) -> ActionRecord:
    async def go() -> ActionRecord:
        inbox = FolderInbox(world.folder)
        inbox.pause = 0.01
        async with obey(inbox, world.engine, world.observer):
            return await asyncio.wait_for(world.go(), 20)

    return asyncio.run(go())


async def _ask_for(world: World, name: str) -> ActionRecord:
    action = pb.Action(action_id=world.id("c1"), parent_action_name="a0")
    action.condition.name = name
    await world.engine.enqueue(action)
    return await world.engine.wait("c1")


def test_a_condition_gets_its_value_by_its_name(tmp_path: Path) -> None:
    world = World(tmp_path)
    got: list[ActionRecord] = []

    async def main(request: LaunchRequest) -> Outcome:
        asking = asyncio.create_task(_ask_for(world, "approve"))
        while world.engine.waiting("approve") is None:
            await asyncio.sleep(0)
        ask(world, signal="nobody", value=VALUE.SerializeToString().hex())
        ask(world, signal="approve", value="zz")
        ask(world, signal="approve", value=VALUE.SerializeToString().hex())
        got.append(await asking)
        return Outcome(0)

    world.launcher.bodies["main"] = main
    assert _go(world).phase is Phase.SUCCEEDED
    assert literals_pb2.Literal.FromString(bytes.fromhex(got[0].value)) == VALUE
    assert [w.split(":")[0] for w in world.observer.warnings] == [
        "somebody signals nobody, and no condition of that name waits", "a request to this run cannot be read",
    ]  # fmt: skip
    assert list(world.folder.requests.iterdir()) == []


def test_a_run_that_somebody_aborts_ends(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def main(request: LaunchRequest) -> Outcome:
        ask(world, abort="me")
        await asyncio.Event().wait()
        return Outcome(0)

    world.launcher.bodies["main"] = main
    assert _go(world).phase is Phase.ABORTED
