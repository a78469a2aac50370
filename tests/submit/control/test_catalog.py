"""Tasks by name, over the protocol: deployed ones, the file's own, and none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.common import identifier_pb2, list_pb2
from flyteidl2.task import task_definition_pb2, task_service_pb2
from flyteidl2.task.task_service_connect import TaskServiceClient

from flyte_build.submit.control.application import Control
from flyte_build.submit.deployed import DeployedTask, Deployments
from tests.submit.test_deployed import task

from .conftest import Asked

EQUAL = list_pb2.Filter.Function.EQUAL


def _spec(name: str) -> bytes:
    spec = task_definition_pb2.TaskSpec()
    spec.task_template.id.name = name
    spec.task_template.container.args.extend(["a0", "--tgz", "", "--dest", "."])
    return spec.SerializeToString()


def _made(folder: Path, name: str, version: str, **more: Any) -> DeployedTask:
    return task(folder, name, version, spec=_spec(name), **more)


def _wanted(name: str, version: str = "") -> task_service_pb2.GetTaskDetailsRequest:
    identifier = task_definition_pb2.TaskIdentifier(project="p", domain="d", name=name, version=version)
    return task_service_pb2.GetTaskDetailsRequest(task_id=identifier)


def _list(**more: Any) -> task_service_pb2.ListTasksRequest:
    where = identifier_pb2.ProjectIdentifier(name="p", domain="d")
    return task_service_pb2.ListTasksRequest(project_id=where, request=list_pb2.ListRequest(**more))


def test_what_is_found_can_be_called(asked: Asked, tmp_path: Path) -> None:
    store = Deployments(tmp_path / "tasks")
    store.put([_made(tmp_path, "env.work", "1"), _made(tmp_path, "env.work", "2", text=b"other")])
    asked.control = Control(store)

    async def talk(address: str) -> Any:
        return (await TaskServiceClient(address).get_task_details(_wanted("env.work", "2"))).details

    details = asked.ask(talk)
    code = store.find("p", "d", "env.work", "2")
    assert code is not None
    uri = f"/mnt/flyte/bundles/{code.code.removeprefix('sha256:')}.tgz"
    assert list(details.spec.task_template.container.args) == ["a0", "--tgz", uri, "--dest", "."]
    assert (details.task_id.name, details.task_id.version) == ("env.work", "2")
    assert details.metadata.environment_name == "env"
    facts = asked.world.facts
    assert facts.images["flyte-build.local/env@sha256:aa"] == "sha256:aa"
    assert (facts.bundles[uri], facts.inline["env.work"]) == (code.code, 7)
    assert (facts.folder.bundles / Path(uri).name).read_bytes() == code.bundle.read_bytes()


def test_tasks_are_listed_the_latest_first(asked: Asked, tmp_path: Path) -> None:
    store = Deployments(tmp_path / "tasks")
    for name, version in (("env.work", "1"), ("env.other", "1"), ("env.work", "2")):
        store.put([_made(tmp_path, name, version)])
    asked.control = Control(store)

    async def talk(address: str) -> Any:
        client = TaskServiceClient(address)
        by_name = list_pb2.Filter(function=EQUAL, field="name", values=["env.work"])
        latest = await client.list_tasks(_list(filters=[by_name], limit=1))
        all_ = await client.list_tasks(_list())
        with pytest.raises(ConnectError) as strange:
            await client.list_tasks(_list(filters=[list_pb2.Filter(function=EQUAL, field="owner", values=["me"])]))
        return latest.tasks, all_.tasks, strange.value

    latest, listed, strange = asked.ask(talk)
    assert [(t.task_id.name, t.task_id.version) for t in latest] == [("env.work", "2")]
    assert {(t.task_id.name, t.task_id.version) for t in listed} == {
        ("env.work", "1"), ("env.work", "2"), ("env.other", "1")
    }  # fmt: skip
    assert strange.code == Code.UNIMPLEMENTED


def test_a_task_that_is_not_there_is_said_with_the_way_out(asked: Asked) -> None:
    async def talk(address: str) -> Any:
        client = TaskServiceClient(address)
        by_name = list_pb2.Filter(function=EQUAL, field="name", values=["env.work"])
        found = (await client.list_tasks(_list(filters=[by_name]))).tasks
        with pytest.raises(ConnectError) as caught:
            await client.get_task_details(_wanted("env.work", "3"))
        return list(found), caught.value

    found, error = asked.ask(talk)
    assert (found, error.code) == ([], Code.NOT_FOUND)
    hint = "`flyte-build deploy FILE` does that, and `flyte-build deploy --list` shows what there is"
    assert asked.world.observer.warnings == [
        f"no task env.work was deployed here (project p, domain d): {hint}",
        f"no task env.work of version 3 was deployed here (project p, domain d): {hint}",
    ]
    assert error.message == asked.world.observer.warnings[1]


def test_the_files_own_answer_where_nothing_was_deployed_and_for_the_runs_own_version(
    asked: Asked, tmp_path: Path
) -> None:
    store = Deployments(tmp_path / "tasks")
    store.put([_made(tmp_path, "env.work", "1")])
    own = {name: _made(tmp_path, name, "run", text=b"own") for name in ("env.work", "env.mine")}
    asked.control = Control(store, own)

    async def talk(address: str) -> Any:
        client = TaskServiceClient(address)
        found = []
        for name, version in (("env.work", "1"), ("env.work", "run"), ("env.mine", "run")):
            found.append((await client.get_task_details(_wanted(name, version))).details.task_id.version)
        listed = [(t.task_id.name, t.task_id.version) for t in (await client.list_tasks(_list())).tasks]
        return found, listed

    found, listed = asked.ask(talk)
    assert found == ["1", "run", "run"]
    assert listed == [("env.work", "1"), ("env.mine", "run")]
    assert asked.world.observer.warnings == [
        f"{name} was not deployed here: calls of it by name take it from the run's own file"
        for name in ("env.work", "env.mine")
    ]


def test_code_that_is_gone_is_said(asked: Asked, tmp_path: Path) -> None:
    store = Deployments(tmp_path / "tasks")
    ((made, _),) = store.put([_made(tmp_path, "env.work", "1")])
    made.bundle.unlink()
    asked.control = Control(store)

    async def talk(address: str) -> Any:
        with pytest.raises(ConnectError) as caught:
            await TaskServiceClient(address).get_task_details(_wanted("env.work", "1"))
        return caught.value

    error = asked.ask(talk)
    assert error.code == Code.FAILED_PRECONDITION
    assert "the code of env.work 1 cannot be read" in error.message
