"""The protocol as the stock runtime speaks it, over the real socket."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.actions import actions_service_pb2 as pb
from flyteidl2.actions.actions_service_connect import ActionsServiceClient
from flyteidl2.common import identifier_pb2

from flyte_build.submit.action import LaunchRequest, Outcome
from flyte_build.submit.service import Service, serve
from tests.support.engine import World

PREFIX = "http://actions/token/flyteidl2.actions.ActionsService"


async def _post(path: Path, url: str, message: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path))) as client:
        headers = {"Content-Type": "application/proto", "Connect-Protocol-Version": "1"}
        return await client.post(url, content=message.SerializeToString(), headers=headers)


def _during(world: World, path: Path, talk: Callable[[], Any]) -> Any:
    """Run ``talk`` while the root runs and the service is up."""

    async def main(request: LaunchRequest) -> Outcome:
        world.said = await talk()  # type: ignore[attr-defined]
        return Outcome(0)

    async def go() -> Any:
        world.launcher.bodies["main"] = main
        async with serve(Service(world.engine, world.run), path, "token"):
            record = await world.go()
        assert record.error is None, record.error
        return world.said  # type: ignore[attr-defined]

    return asyncio.run(asyncio.wait_for(go(), 20))


def test_the_socket_is_ours_alone_and_needs_the_token(tmp_path: Path) -> None:
    path = tmp_path / "s"
    world = World(tmp_path)

    async def talk() -> tuple[int, list[int]]:
        urls = [
            PREFIX.replace("/token", ""),
            PREFIX.replace("token", "wrong"),
            PREFIX.replace("token", ""),
            PREFIX.replace("token", "token2"),
            PREFIX,
        ]
        request = pb.AbortRequest(action_id=world.id("nobody"))
        codes = [(await _post(path, f"{url}/Abort", request)).status_code for url in urls]
        return stat.S_IMODE(path.stat().st_mode), codes

    mode, codes = _during(world, path, talk)
    assert mode == 0o600
    assert codes == [401, 401, 401, 401, 404]
    assert not path.exists()


def test_a_folder_may_have_a_longer_path_than_a_sockets_address(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    world = World(tmp_path)

    async def talk() -> int:
        handle = os.open(folder, os.O_PATH)
        try:
            short = Path(f"/proc/self/fd/{handle}/s")
            return (await _post(short, f"{PREFIX}/Abort", pb.AbortRequest(action_id=world.id("x")))).status_code
        finally:
            os.close(handle)

    assert len(str(folder)) > 107
    assert _during(world, folder / "s", talk) == 404


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, None),
        ({"name": ""}, "invalid_argument"),
        ({"name": "../a0"}, "invalid_argument"),
        ({"name": "a/b"}, "invalid_argument"),
        ({"spec": False}, "invalid_argument"),
        ({"parent": "nobody"}, "not_found"),
        ({"run": "another"}, "not_found"),
        ({"name": "a0"}, "already_exists"),
    ],
)
def test_enqueue_answers_with_connects_codes(tmp_path: Path, change: dict[str, Any], code: str | None) -> None:
    path = tmp_path / "s"
    world = World(tmp_path)
    action = world.task("leaf", change.get("name", "c"), change.get("parent", "a0"))
    if "run" in change:
        action.action_id.run.name = change["run"]
    if "spec" in change:
        action.ClearField("task")

    async def talk() -> httpx.Response:
        return await _post(path, f"{PREFIX}/Enqueue", pb.EnqueueRequest(action=action))

    response = _during(world, path, talk)
    assert (response.json()["code"] if response.status_code != 200 else None) == code


def test_the_generated_client_watches_through_a_forwarded_port(tmp_path: Path) -> None:
    """The stock runtime's own client class, over TCP, with the token as the address's path."""
    path = tmp_path / "s"
    world = World(tmp_path)

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(path)
        await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))

    going, go_on = asyncio.Event(), asyncio.Event()

    async def leaf(request: LaunchRequest) -> Outcome:
        going.set()
        await go_on.wait()
        return Outcome(0)

    async def talk() -> list[str]:
        server = await asyncio.start_server(accepted, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = ActionsServiceClient(f"http://127.0.0.1:{port}/token")
        heard: list[str] = []

        async def watch() -> AsyncIterator[None]:
            """Hear what is said; at the sentinel the caller goes on."""
            watched = client.watch_for_updates(pb.WatchForUpdatesRequest(parent_action_id=world.id("a0")))
            async for response in watched:
                sentinel, update = response.control_message.sentinel, response.action_update
                heard.append("sentinel" if sentinel else f"{update.action_id.name}{update.phase}")
                if sentinel:
                    yield
                if len(heard) == 4:
                    break

        async for _ in watch():
            await client.enqueue(pb.EnqueueRequest(action=world.task("leaf", "c", "a0")))
            with pytest.raises(ConnectError) as caught:
                await client.enqueue(pb.EnqueueRequest(action=world.task("leaf", "c", "a0")))
            assert caught.value.code == Code.ALREADY_EXISTS
            await going.wait()
            # Another that begins to watch is told of what runs.
            async for _ in watch():
                break
            go_on.set()
        server.close()
        return heard

    world.launcher.bodies["leaf"] = leaf
    assert _during(world, path, talk) == ["sentinel", "c4", "sentinel", "c5"]


def test_another_runs_watch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    world = World(tmp_path)
    other = identifier_pb2.ActionIdentifier(run=identifier_pb2.RunIdentifier(name="other"), name="a0")

    async def talk() -> int:
        response = await _post(path, f"{PREFIX}/Abort", pb.AbortRequest(action_id=other))
        return response.status_code

    assert _during(world, path, talk) == 404
