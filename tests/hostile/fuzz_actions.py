"""The target of the actions service: requests as a task may send them, to the application, the service and an engine.

Nothing is served: the application is called as ASGI says. What answers ``unknown`` or ``internal``, and an exception
in the engine's own work, is a crash.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from flyteidl2.actions.actions_service_connect import ActionsServiceASGIApplication

from flyte_build.submit.request_decoding import careful
from flyte_build.submit.service import Service, guarded

from ..support.engine import World

__all__ = ["actions"]

_METHODS = ("Enqueue", "Abort", "Signal", "Update", "WatchForUpdates")
_ANSWERS = {"invalid_argument", "not_found", "already_exists", "resource_exhausted", "unimplemented"}
_loop: list[asyncio.AbstractEventLoop] = []


class Broken(Exception):
    """An answer that no request may get."""


def actions(data: bytes, folder: Path) -> None:
    """``METHOD json|proto\\n`` and a body."""
    head, _, body = data.partition(b"\n")
    method, _, kind = head.decode("latin-1").partition(" ")
    if method not in _METHODS:
        method = _METHODS[len(method) % len(_METHODS)]
    if not _loop:
        _loop.append(asyncio.new_event_loop())
    _loop[0].run_until_complete(_ask(method, "json" if kind == "json" else "proto", body, folder))


async def _ask(method: str, kind: str, body: bytes, folder: Path) -> None:
    world = World(folder)
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))

    async def main(request: Any) -> Any:
        await asyncio.Event().wait()

    world.launcher.bodies["main"] = main
    try:
        await world.engine.enqueue(world.task("main"))
        status, answer = await _post(world, method, kind, body)
        for _ in range(10):
            await asyncio.sleep(0)
    finally:
        await world.engine.close()
        world.journal.close()
    if status != 200:
        code = json.loads(answer or b"{}").get("code") if status != 415 else "invalid_argument"
        if code not in _ANSWERS:
            raise Broken(f"{status} {answer[:300]!r}")
    elif b'"internal"' in answer or b'"unknown"' in answer:
        raise Broken(answer[:300].decode(errors="replace"))
    for record in world.engine.records():
        if record.error is not None and record.error.message.startswith("flyte-build: "):
            raise Broken(f"{record.error.code}: {record.error.message}")
    if unheard:
        raise Broken(f"{unheard[0]}")


async def _post(world: World, method: str, kind: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of the answer; a stream is left after what it has to say at once."""
    streams = method == "WatchForUpdates"
    content = f"application/{'connect+' if streams else ''}{kind}"
    path = f"/token/flyteidl2.actions.ActionsService/{method}"
    sent = body if not streams else b"\0" + len(body).to_bytes(4, "big") + body
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": None, "server": None,
        "headers": [(b"content-type", content.encode()), (b"connect-protocol-version", b"1")],
    }  # fmt: skip
    said: list[dict[str, Any]] = []
    waiting = [{"type": "http.request", "body": sent, "more_body": False}]

    async def receive() -> Any:
        if waiting:
            return waiting.pop()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        said.append(message)

    application = guarded(careful(ActionsServiceASGIApplication, Service(world.engine, world.run)), "token")
    call = asyncio.ensure_future(application(scope, receive, send))
    if streams:
        for _ in range(30):
            await asyncio.sleep(0)
        if not call.done():
            call.cancel()
            await asyncio.wait([call])
            # What it ends with is what it says of us, who left.
            _ = call.cancelled() or call.exception()
            return 200, b"".join(m.get("body", b"") for m in said)
    await call
    started = next((m["status"] for m in said if m["type"] == "http.response.start"), 500)
    return started, b"".join(m.get("body", b"") for m in said if m["type"] == "http.response.body")
