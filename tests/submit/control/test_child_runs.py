"""Runs that a task starts, over the protocol; what runs them is a function."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.common import identifier_pb2, phase_pb2
from flyteidl2.core import literals_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2
from flyteidl2.task import common_pb2, run_pb2, task_definition_pb2
from flyteidl2.workflow import run_service_pb2 as pb
from flyteidl2.workflow.run_service_connect import RunServiceClient

from flyte_build.submit.action import LaunchRequest, Outcome, Phase
from flyte_build.submit.control.application import Nobody
from flyte_build.submit.control.catalog import Finder
from flyte_build.submit.control.child_runs import ChildRuns
from flyte_build.submit.control.data import Data
from flyte_build.submit.control.intake import Uploads
from flyte_build.submit.control.stash import LocalStash
from flyte_build.submit.journal import read_journal
from tests.support.engine import IMAGE

from .conftest import Asked


def _spec(task: str) -> task_definition_pb2.TaskSpec:
    spec = task_definition_pb2.TaskSpec()
    spec.task_template.id.name = task
    spec.task_template.container.image = IMAGE
    spec.task_template.container.args.extend(["a0", "--inputs", "{{.input}}"])
    return spec


def _inputs(value: int) -> common_pb2.Inputs:
    primitive = literals_pb2.Primitive(integer=value)
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))
    return common_pb2.Inputs(literals=[common_pb2.NamedLiteral(name="x", value=literal)])


def _request(task: str, value: int = 1, name: str = "", **spec: Any) -> pb.CreateRunRequest:
    request = pb.CreateRunRequest(task_spec=_spec(task), inputs=_inputs(value), run_spec=run_pb2.RunSpec(**spec))
    if name:
        request.run_id.name = name
    else:
        request.project_id.name = "p"
    return request


def _ident(run: str, action: str = "a0") -> identifier_pb2.ActionIdentifier:
    return identifier_pb2.ActionIdentifier(run=identifier_pb2.RunIdentifier(name=run), name=action)


async def _ended(client: RunServiceClient, run: str) -> Any:
    async for response in client.watch_action_details(pb.WatchActionDetailsRequest(action_id=_ident(run))):
        last = response.details
    return last


def test_a_run_is_begun_seen_and_ended(asked: Asked) -> None:
    async def talk(address: str) -> Any:
        client = RunServiceClient(f"{address}/as/a0")
        envs = run_pb2.Envs(values=[literals_pb2.KeyValuePair(key="A", value="1")])
        made = await client.create_run(_request("leaf", 7, envs=envs))
        run = made.run.action.id.run.name
        details = await _ended(client, run)
        again = await client.get_run_details(pb.GetRunDetailsRequest(run_id=made.run.action.id.run))
        return made.run.action.id, details, again.details.action.status.phase

    identifier, details, phase = asked.ask(talk)
    (request,) = [r for r in asked.world.launcher.requests if r.task == "leaf"]
    assert identifier.name == "a0"
    assert identifier.run.name == request.action
    assert request.action == "c1f13932b7a47d445dc1"
    assert request.env["A"] == "1"
    assert request.env["RUN_NAME"] == "run"
    assert (details.status.phase, phase) == (phase_pb2.ACTION_PHASE_SUCCEEDED,) * 2
    assert details.task.task_template.id.name == "leaf"
    assert not details.metadata.parent
    kept = common_pb2.Inputs.FromString((asked.world.folder.meta).joinpath(*_where(asked)).read_bytes())
    assert kept == _inputs(7)
    record = asked.world.engine.record(request.action)
    assert record is not None
    assert (record.parent, record.run) == ("a0", request.action)
    told = [e["action"] for e in read_journal(asked.world.folder.journal) if "action" in e]
    assert {a["run"] for a in told if a["name"] == request.action} == {request.action}


def _where(asked: Asked) -> tuple[str, str]:
    (folder,) = [p.name for p in asked.world.folder.meta.iterdir() if p.name.startswith("inputs-")]
    return folder, "inputs.pb"


def test_equal_calls_are_runs_of_their_own_and_a_name_is_had_once(asked: Asked) -> None:
    async def talk(address: str) -> Any:
        client = RunServiceClient(f"{address}/as/a0")
        names = [(await client.create_run(_request("leaf"))).run.action.id.run.name for _ in range(2)]
        names.append((await client.create_run(_request("leaf", name="mine"))).run.action.id.run.name)
        with pytest.raises(ConnectError) as caught:
            await client.create_run(_request("leaf", name="mine"))
        with pytest.raises(ConnectError) as strange:
            await client.create_run(_request("leaf", name="../x"))
        listed = await client.list_runs(pb.ListRunsRequest())
        return names, caught.value.code, strange.value.code, [r.action.id.run.name for r in listed.runs]

    names, taken, strange, listed = asked.ask(talk)
    assert len(set(names)) == 3
    assert names[2] == "mine"
    assert (taken, strange) == (Code.ALREADY_EXISTS, Code.INVALID_ARGUMENT)
    assert listed == ["run", *names]


def test_a_child_run_goes_on_when_its_parent_has_ended_and_the_run_waits_for_it(asked: Asked) -> None:
    order: list[str] = []
    free = asyncio.Event()

    async def slow(request: LaunchRequest) -> Outcome:
        await free.wait()
        order.append("child")
        return Outcome(0)

    def after() -> None:
        order.append("root")
        free.set()

    async def talk(address: str) -> Any:
        await RunServiceClient(f"{address}/as/a0").create_run(_request("slow", name="mine"))

    asked.world.launcher.bodies["slow"] = slow
    asked.ask(talk, after)
    child = asked.world.engine.record("mine")
    assert order == ["root", "child"]
    assert child is not None
    assert child.phase is Phase.SUCCEEDED


def test_who_asks_for_outputs_before_the_end_hears_why_there_are_none(asked: Asked) -> None:
    begun = asyncio.Event()
    world = asked.world

    async def bad(request: LaunchRequest) -> Outcome:
        await begun.wait()
        return world.fail(request, recoverable=False)

    world.launcher.bodies["bad"] = bad
    uploads = Uploads(world.facts, LocalStash(world.folder))
    finder = Finder(world.facts, uploads.stash, Nobody(), {}, world.observer)
    runs = ChildRuns(world.engine, world.facts, uploads, finder, world.observer, {})
    data = Data(world.engine, world.facts, uploads, runs)
    wanted = dataproxy_service_pb2.GetActionDataRequest(action_id=_ident("mine"))

    async def talk(address: str) -> Any:
        client = RunServiceClient(f"{address}/as/a0")
        await client.create_run(_request("bad", name="mine"))
        early = asyncio.create_task(data.get_action_data(wanted, None))
        await asyncio.sleep(0)  # it waits now
        begun.set()
        with pytest.raises(ConnectError) as caught:
            await early
        after = await data.get_action_data(wanted, None)
        details = (await client.get_action_details(pb.GetActionDetailsRequest(action_id=_ident("mine")))).details
        return caught.value.message, after.outputs, details.error_info

    words, outputs, error = asked.ask(talk)
    assert words == "mine failed: Oops: words"
    assert not outputs.literals
    assert (error.code, error.message) == ("Oops", "words")


def test_a_child_run_is_aborted_by_its_name(asked: Asked) -> None:
    async def forever(request: LaunchRequest) -> Outcome:
        await asyncio.Event().wait()
        return Outcome(0)

    asked.world.launcher.bodies["forever"] = forever

    async def talk(address: str) -> Any:
        client = RunServiceClient(f"{address}/as/a0")
        await client.create_run(_request("forever", name="mine"))
        await client.abort_run(pb.AbortRunRequest(run_id=_ident("mine").run))
        await client.abort_run(pb.AbortRunRequest(run_id=_ident("mine").run))
        return (await _ended(client, "mine")).status.phase

    assert asked.ask(talk) == phase_pb2.ACTION_PHASE_ABORTED


def test_what_only_a_backend_has_is_said(asked: Asked) -> None:
    async def talk(address: str) -> Any:
        client = RunServiceClient(address)
        await client.create_run(_request("leaf", max_action_concurrency=3))
        with pytest.raises(ConnectError) as caught:
            await client.watch_groups(pb.WatchGroupsRequest()).__anext__()
        with pytest.raises(ConnectError) as trigger:
            await client.create_run(pb.CreateRunRequest())
        with pytest.raises(ConnectError) as nobody:
            await client.get_run_details(pb.GetRunDetailsRequest(run_id=_ident("nobody").run))
        return [e.value for e in (caught, trigger, nobody)]

    errors = asked.ask(talk)
    assert [e.code for e in errors] == [Code.UNIMPLEMENTED, Code.UNIMPLEMENTED, Code.NOT_FOUND]
    assert "RunService.WatchGroups" in errors[0].message
    assert "needs a Flyte backend" in errors[0].message
    assert errors[2].message.startswith("there is no run or action nobody in the run run")
    assert asked.world.observer.warnings == [
        "a task starts a run with a limit of actions at once, which only a Flyte backend has"
    ]
