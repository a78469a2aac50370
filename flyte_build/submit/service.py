"""``flyteidl2.actions.ActionsService``, the protocol through which the stock runtime launches child tasks.

Only translation: requests to calls of the engine, its exceptions to Connect's codes. It is served on a Unix socket
in the run's folder, to which process 1 of a sandbox forwards, or to pods over TCP. That forwarder listens on the
machine's loopback when the network is shared, and a cluster's network has others in it: so every request must carry the
run's secret token as the first segment of its path.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.request import RequestContext
from flyteidl2.actions import actions_service_pb2 as pb
from flyteidl2.actions.actions_service_connect import ActionsServiceASGIApplication
from flyteidl2.common import identifier_pb2
from flyteidl2.workflow import state_service_pb2

from .control.addressing import ACTION_NAME, split, told
from .control.application import Routes
from .engine import AlreadyExists, Engine, NotFound
from .protobuf import action_update
from .request_decoding import bounded, careful

__all__ = ["Service", "serve", "serve_on"]

# Answers are some hundred bytes, and do not leave this machine, or a cluster: deflating them costs more than sending.
_ACCEPTED = (b"accept-encoding", b"connect-accept-encoding", b"grpc-accept-encoding")
_Scope = MutableMapping[str, Any]
_App = Callable[[_Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class Service:
    """The five calls. ``run`` is the only run it answers for; ``others`` have what else its tasks ask."""

    def __init__(self, engine: Engine, run: identifier_pb2.RunIdentifier, others: Routes | None = None) -> None:
        self._engine = engine
        self._run = run
        self._others = others or Routes({})
        self._own: dict[str, _App] = {}

    def answer(self, path: str, application: _App) -> None:
        """Let ``application`` answer what is below ``path``."""
        self._own[f"{path}/"] = application

    def application(self) -> _App:
        """Its calls, and all others."""
        calls = careful(ActionsServiceASGIApplication, self)
        others, own = self._others, self._own

        async def route(scope: _Scope, receive: Any, send: Any) -> None:
            path: str = scope["path"]
            chosen = calls if path.startswith(f"{calls.path}/") else own.get(path[: path.rfind("/") + 1], others)
            await chosen(scope, receive, send)

        return route

    def _check(self, run: identifier_pb2.RunIdentifier) -> None:
        if run.name != self._run.name:
            raise ConnectError(Code.NOT_FOUND, f"expected run {self._run.name}, found {run.name or 'none'}")

    async def enqueue(self, request: pb.EnqueueRequest, ctx: RequestContext[Any, Any]) -> pb.EnqueueResponse:
        action = request.action
        self._check(action.action_id.run)
        if not ACTION_NAME.fullmatch(action.action_id.name) or action.WhichOneof("spec") is None:
            raise ConnectError(Code.INVALID_ARGUMENT, "expected an action with a name and a task, trace or condition")
        try:
            await self._engine.enqueue(action)
        except AlreadyExists as e:
            raise ConnectError(Code.ALREADY_EXISTS, str(e)) from None
        except NotFound as e:
            raise ConnectError(Code.NOT_FOUND, str(e)) from None
        return pb.EnqueueResponse()

    async def watch_for_updates(
        self, request: pb.WatchForUpdatesRequest, ctx: RequestContext[Any, Any]
    ) -> AsyncIterator[pb.WatchForUpdatesResponse]:
        """What its calls are now, the sentinel, and then each that ends: the runtime waits for nothing else, and what
        it hears besides costs it, the way to it and this process as much as an end does."""
        self._check(request.parent_action_id.run)
        told = False
        async with contextlib.aclosing(self._engine.watch(request.parent_action_id.name)) as records:
            async for record in records:
                if record is None:
                    told = True
                    message = state_service_pb2.ControlMessage(sentinel=True)
                    yield pb.WatchForUpdatesResponse(control_message=message)
                elif not told or record.phase.terminal:
                    yield pb.WatchForUpdatesResponse(action_update=action_update(record, self._run))

    async def abort(self, request: pb.AbortRequest, ctx: RequestContext[Any, Any]) -> pb.AbortResponse:
        self._check(request.action_id.run)
        try:
            await self._engine.abort(request.action_id.name)
        except NotFound as e:
            raise ConnectError(Code.NOT_FOUND, str(e)) from None
        return pb.AbortResponse()

    async def signal(self, request: pb.SignalRequest, ctx: RequestContext[Any, Any]) -> pb.SignalResponse:
        self._check(request.action_id.run)
        try:
            await self._engine.signal(request.action_id.name, request.value)
        except NotFound as e:
            raise ConnectError(Code.NOT_FOUND, f"no condition {e} waits for a signal") from None
        return pb.SignalResponse()

    async def update(self, request: pb.UpdateRequest, ctx: RequestContext[Any, Any]) -> pb.UpdateResponse:
        raise ConnectError(Code.UNIMPLEMENTED, "an attempt's state is known from its sandbox, not from reports")


def guarded(app: _App, token: str) -> _App:
    """``app``, for requests whose path begins with ``/<token>/`` only."""

    async def guard(
        scope: _Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        given, _, rest = scope["path"].removeprefix("/").partition("/")
        if not hmac.compare_digest(given.encode(), token.encode()):
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        action, path = split(rest)
        headers = [h for h in told(scope["headers"], action, token) if h[0].lower() not in _ACCEPTED]
        given = {**scope, "path": f"/{path}", "raw_path": f"/{path}".encode(), "headers": headers}
        await app(given, bounded(receive), send)

    return guard


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # an interrupt is the run's to handle


@contextlib.asynccontextmanager
async def serve(service: Service, path: Path, token: str) -> AsyncIterator[None]:
    """Serve on a Unix socket at ``path`` (mode 0600) for the time of the block; raises OSError."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        # Through the descriptor, because a socket's address has room for 107 bytes and a folder's path has not.
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.chmod(path, 0o600)
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(folder)
    try:
        async with serve_on(service, listener, token):
            yield
    finally:
        path.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def serve_on(
    service: Service, listener: socket.socket, token: str, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serve on a bound socket, which is then closed, for the time of the block; raises OSError."""
    config = uvicorn.Config(
        guarded(service.application(), token),
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=3600,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=1,
    )
    config.load()
    config.ssl = tls
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if running.done():
                running.result()
                raise OSError(f"the actions service on {listener.getsockname()} did not start")
            await asyncio.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        await asyncio.wait([running])
        listener.close()
