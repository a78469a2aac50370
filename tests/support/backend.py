"""A Flyte backend on the loopback that takes what the SDK sends, and remembers it: uploads, runs, deployed tasks.

Spoken by flyteidl2's own server classes (Connect protocol), so a request that the real backend could not read cannot be
read here either. It runs nothing.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Self

import uvicorn
from flyteidl2.cluster import payload_pb2 as cluster_pb
from flyteidl2.cluster.service_connect import ClusterService, ClusterServiceASGIApplication
from flyteidl2.common import identifier_pb2, run_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2 as data_pb
from flyteidl2.dataproxy.dataproxy_service_connect import DataProxyService, DataProxyServiceASGIApplication
from flyteidl2.task import task_service_pb2 as task_pb
from flyteidl2.task.task_service_connect import TaskService, TaskServiceASGIApplication
from flyteidl2.workflow import run_definition_pb2
from flyteidl2.workflow import run_service_pb2 as run_pb
from flyteidl2.workflow.run_service_connect import RunService, RunServiceASGIApplication

__all__ = ["Backend"]


class _Data(DataProxyService):
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def create_upload_location(self, request: Any, ctx: Any) -> Any:
        name = f"{len(self._backend.uploads)}-{request.filename}"
        return data_pb.CreateUploadLocationResponse(
            signed_url=f"http://{self._backend.endpoint}/upload/{name}", native_url=f"s3://bucket/{name}"
        )

    async def upload_inputs(self, request: Any, ctx: Any) -> Any:
        stored = run_pb2.OffloadedInputData(uri="s3://bucket/inputs.pb", inputs_hash="0")
        return data_pb.UploadInputsResponse(offloaded_input_data=stored)


class _Runs(RunService):
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def create_run(self, request: Any, ctx: Any) -> Any:
        self._backend.runs.append(request)
        run = identifier_pb2.RunIdentifier(org="o", project="p", domain="d", name=f"run{len(self._backend.runs)}")
        action = run_definition_pb2.Action(id=identifier_pb2.ActionIdentifier(run=run, name="a0"))
        return run_pb.CreateRunResponse(run=run_definition_pb2.Run(action=action))


class _Tasks(TaskService):
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def deploy_task(self, request: Any, ctx: Any) -> Any:
        self._backend.deployed.append(request)
        return task_pb.DeployTaskResponse()


class _Cluster(ClusterService):
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def select_cluster(self, request: Any, ctx: Any) -> Any:
        return cluster_pb.SelectClusterResponse(cluster_endpoint=f"http://{self._backend.endpoint}")


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        return None


class Backend:
    """``endpoint``: ``127.0.0.1:PORT``. ``runs``, ``deployed``: the requests, in the order they came."""

    def __init__(self) -> None:
        self.runs: list[Any] = []
        self.deployed: list[Any] = []
        self.uploads: dict[str, bytes] = {}
        self._apps: list[tuple[str, Any]] = [
            ("/flyteidl2.dataproxy.DataProxyService/", DataProxyServiceASGIApplication(_Data(self))),
            ("/flyteidl2.workflow.RunService/", RunServiceASGIApplication(_Runs(self))),
            ("/flyteidl2.task.TaskService/", TaskServiceASGIApplication(_Tasks(self))),
            ("/flyteidl2.cluster.ClusterService/", ClusterServiceASGIApplication(_Cluster(self))),
        ]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "{}:{}".format(*self._listener.getsockname())
        config = uvicorn.Config(self._serve, interface="asgi3", log_level="critical", lifespan="off", ws="none")
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._server.serve(sockets=[self._listener])), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._listener.close()

    async def _serve(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        path = scope["path"]
        for prefix, app in self._apps:
            if path.startswith(prefix):
                await app(scope, receive, send)
                return
        status = 404
        if path.startswith("/upload/") and scope["method"] == "PUT":
            body = b""
            more = True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
            self.uploads[path.removeprefix("/upload/")] = body
            status = 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})
