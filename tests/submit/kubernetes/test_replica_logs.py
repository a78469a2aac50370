"""What actions in a replica's pod print: in the storage while they go on, and whole when their pod ends with them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from flyte_build.kernel.errors import RunError
from flyte_build.submit.action import Outcome
from flyte_build.submit.kubernetes.growing import Growing
from flyte_build.submit.kubernetes.mirror import Mirror
from tests.support.apiserver import NAMESPACE, ApiServer

from .test_replica_pods import FIRST, SECOND, Bench, Body, bench

__all__ = ["bench"]


def test_what_an_action_prints_is_in_the_storage_while_it_goes_on(
    bench: Callable[[Body], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyte_build.submit.kubernetes.growing._PAUSE", 0.0)

    async def body(rig: Bench) -> None:
        one = rig.launch("a1")
        process = await rig.ready()
        (order,) = await process.orders()
        mirror, key = rig.pods._mirror, "r1/logs/a1/1.log"

        async def printed(text: bytes, **more: bool) -> None:
            log = base64.b64encode(text).decode()
            assert await process.say({"id": order["id"], "log": log, **more}) == 200

        async def stored(text: bytes) -> None:
            async with asyncio.timeout(60):
                while await mirror.get(key) != text:
                    await asyncio.sleep(0.005)

        await printed(b"epoch 1\n", goes_on=True)
        await stored(b"epoch 1\n")
        await printed(b"epoch 2\n", goes_on=True)
        await stored(b"epoch 1\nepoch 2\n")
        await printed(b"epoch 3\n")
        assert await process.say({"id": order["id"], "code": 0, "changed": None}) == 200
        assert await one == Outcome(0)
        assert await mirror.get(key) == b"epoch 1\nepoch 2\nepoch 3\n"

    bench(body)


def test_a_pod_that_dies_with_one_action_is_that_actions_failure(
    bench: Callable[[Body], Bench], api: ApiServer
) -> None:
    async def body(rig: Bench) -> None:
        one = rig.launch("a1")
        process = await rig.ready()
        (order,) = await process.orders()
        first = base64.b64encode(b"first words\n").decode()
        assert await process.say({"id": order["id"], "log": first, "goes_on": True}) == 200
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{FIRST}-abcde/log"
        api.documents[path] = b"of another before\nfirst words\nlast words\n"
        await rig.pod(FIRST, {"terminated": {"reason": "OOMKilled", "exitCode": 137}}, "Failed")
        outcome = await one
        assert (outcome.exit_code, outcome.reason) == (137, "oom")
        next_one = rig.launch("a2")
        process = await rig.ready(SECOND)
        await process.end((await process.orders())[0])
        assert await next_one == Outcome(0), "it is replaced"

    assert bench(body).folder.log("a1", 1).read_text() == "first words\nlast words\n"


class Slow:
    """A storage that takes a log as slowly as the test says, and others after it."""

    def __init__(self) -> None:
        self.stored: list[bytes] = []
        self.go, self.begun = asyncio.Event(), asyncio.Event()

    def key(self, path: Path) -> str:
        return path.name

    async def put(self, key: str, data: bytes) -> None:
        self.begun.set()
        await self.go.wait()
        self.stored.append(data)


def test_the_end_waits_for_what_is_being_stored(tmp_path: Path) -> None:
    """So nothing older comes after it."""
    log = tmp_path / "1.log"

    async def go() -> None:
        slow = Slow()
        growing = Growing(cast("Mirror", slow), pause=0.0)
        await growing.ended(log)
        log.write_bytes(b"one")
        growing.grew(log)
        await slow.begun.wait()
        log.write_bytes(b"one two")
        growing.grew(log)
        ended = asyncio.create_task(growing.ended(log))
        await asyncio.sleep(0)
        assert not ended.done()
        slow.go.set()
        await ended
        assert slow.stored == [b"one"], "and nothing is stored from there any more"

    asyncio.run(go())


def test_a_log_that_cannot_be_stored_meanwhile_is_left_to_the_end(tmp_path: Path) -> None:
    class Broken(Slow):
        async def put(self, key: str, data: bytes) -> None:
            raise RunError("the storage does not answer")

    async def go() -> None:
        growing = Growing(cast("Mirror", Broken()), pause=0.0)
        (tmp_path / "1.log").write_bytes(b"one")
        growing.grew(tmp_path / "1.log")
        await growing.ended(tmp_path / "1.log")

    asyncio.run(go())
