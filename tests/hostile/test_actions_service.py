"""What a task sends to the service on its socket: an error in the protocol's words, and the run goes on."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from flyteidl2.actions import actions_service_pb2 as pb

from flyte_build.submit.action import LaunchRequest, Outcome
from flyte_build.submit.service import Service, serve

from ..submit.test_engine import World

URL = "http://actions/token/flyteidl2.actions.ActionsService"
PROTO, JSON = "application/proto", "application/json"
_DEEP = '{"action": ' + '{"task": ' * 20_000 + "1" + "}" * 20_001

BODIES: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "no protobuf": (PROTO, b"\xff\xff\xff\xff", {}),
    "a length beyond the end": (PROTO, b"\x0a\xff\xff\xff\x7fx", {}),
    "a string that is no UTF-8": (PROTO, b"\x0a\x09\x0a\x07\x12\x05\xff\xfe\xfd\xed\xb0", {}),
    "groups in groups": (PROTO, b"\x0b" * 100_000, {}),
    "messages in messages": (PROTO, b"\x0a\x7f" * 5_000, {}),
    "no JSON": (JSON, b"{", {}),
    "JSON that is no message": (JSON, b'{"action": 1}', {}),
    "JSON with an unknown field": (JSON, b'{"nobody": 1}', {}),
    "JSON that is no UTF-8": (JSON, b'{"action": "\xff"}', {}),
    "half a surrogate pair": (JSON, b'{"action": {"group": "\\ud800"}}', {}),
    "a number of 5000 digits": (JSON, b'{"action": {"task": {"cacheKey": ' + b"9" * 5000 + b"}}}", {}),
    "deep JSON": (JSON, _DEEP.encode(), {}),
    "no gzip": (PROTO, b"x", {"Content-Encoding": "gzip"}),
    "gzip that is cut off": (PROTO, gzip.compress(b"x" * 99)[:-9], {"Content-Encoding": "gzip"}),
    "a bomb": (PROTO, b"", {"Content-Encoding": "gzip"}),
    "a compression of its own": (PROTO, b"x", {"Content-Encoding": "xyz"}),
    "a body without end": (PROTO, b"", {}),
    "no name": (PROTO, pb.EnqueueRequest().SerializeToString(), {}),
}

# Made where they are sent: each process that collects tests would make them.
LARGE: dict[str, Callable[[], bytes]] = {
    "a bomb": lambda: gzip.compress(bytes(256 << 20), 1),
    "a body without end": lambda: bytes(65 << 20),
}


def _codes(world: World, path: Path, asked: list[tuple[str, str, bytes, dict[str, str]]]) -> list[tuple[int, str]]:
    async def talk() -> list[tuple[int, str]]:
        found = []
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), timeout=20) as client:
            for method, kind, body, headers in asked:
                all_headers = {"Content-Type": kind, "Connect-Protocol-Version": "1", **headers}
                answer = await client.post(f"{URL}/{method}", content=body, headers=all_headers)
                found.append((answer.status_code, answer.text))
        return found

    async def main(request: LaunchRequest) -> Outcome:
        world.said = await talk()  # type: ignore[attr-defined]
        return Outcome(0)

    async def go() -> None:
        world.launcher.bodies["main"] = main
        async with serve(Service(world.engine, world.run), path, "token"):
            record = await world.go()
        assert record.error is None, record.error

    asyncio.run(asyncio.wait_for(go(), 60))
    return world.said  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("name", BODIES)
def test_what_is_no_request_is_an_invalid_argument(tmp_path: Path, name: str) -> None:
    kind, body, headers = BODIES[name]
    body = LARGE.get(name, lambda: body)()
    methods = ["Enqueue", "Abort", "Signal"] if name != "no name" else ["Enqueue"]
    for code, text in _codes(World(tmp_path), tmp_path / "s", [(m, kind, body, headers) for m in methods]):
        said = json.loads(text)
        assert (code, said["code"]) in {
            (400, "invalid_argument"),
            (404, "not_found"),  # what was decoded names no run
            (501, "unimplemented"),
            (429, "resource_exhausted"),
        }, (code, text[:300])
        assert "Traceback" not in text
