"""All that a run's service answers, by the paths of requests: calls of services, uploads, and refusals in words.

Only routing: the services are built here, one object each for the time of a run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from connectrpc.errors import ConnectError
from flyteidl2.cluster.service_connect import ClusterServiceASGIApplication
from flyteidl2.dataproxy.dataproxy_service_connect import DataProxyServiceASGIApplication
from flyteidl2.task import task_definition_pb2
from flyteidl2.task.task_service_connect import TaskServiceASGIApplication
from flyteidl2.workflow.run_service_connect import RunServiceASGIApplication

from ...kernel.values import dataclass, field
from ..attempt import RunFacts
from ..deployed import DeployedTask, TaskSource
from ..engine import Engine
from ..observer import Observer
from ..request_decoding import LARGEST, careful
from ..storage import RunFolder
from .catalog import Catalog, Finder
from .child_runs import ChildRuns
from .data import UPLOADS, Clusters, Data
from .intake import Uploads
from .refusing import refusal
from .stash import LocalStash, Stash

__all__ = ["Application", "Control", "Nobody", "Routes"]

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[Any]]
_Send = Callable[[Any], Awaitable[None]]
Application = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


class Nobody:
    """No task was deployed."""

    def find(self, project: str, domain: str, name: str, version: str) -> DeployedTask | None:
        return None

    def listed(self, project: str, domain: str) -> list[DeployedTask]:
        return []


@dataclass(frozen=True, slots=True)
class Control:
    """What a run's tasks may ask besides calls: those that were ``deployed``, and their file's ``own`` by name. What
    they hand in goes into what ``stash`` makes of the run's folder; ``specs`` are those of child runs' roots, by
    action, where the run is gone on with."""

    deployed: TaskSource = field(default_factory=Nobody)
    own: Mapping[str, DeployedTask] = field(default_factory=dict)
    stash: Callable[[RunFolder], Stash] = LocalStash
    specs: Mapping[str, task_definition_pb2.TaskSpec] = field(default_factory=dict)

    def routes(self, engine: Engine, facts: RunFacts, observer: Observer) -> Routes:
        """For one run."""
        stash = self.stash(facts.folder)
        uploads = Uploads(facts, stash)
        tasks = Finder(facts, stash, self.deployed, self.own, observer)
        runs = ChildRuns(engine, facts, uploads, tasks, observer, self.specs)
        services: list[tuple[Any, Any]] = [
            (RunServiceASGIApplication, runs),
            (DataProxyServiceASGIApplication, Data(engine, facts, uploads, runs)),
            (ClusterServiceASGIApplication, Clusters()),
            (TaskServiceASGIApplication, Catalog(tasks)),
        ]
        made = [careful(kind, service) for kind, service in services]
        return Routes({application.path: application for application in made}, uploads)


class Routes:
    """``applications`` by the path of their service, and ``uploads``."""

    def __init__(self, applications: Mapping[str, Application], uploads: Uploads | None = None) -> None:
        self._applications = applications
        self._uploads = uploads

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        path = str(scope["path"])
        service = path.rpartition("/")[0]
        if self._uploads is not None and scope.get("method") == "PUT" and service == f"/{UPLOADS}":
            await _put(self._uploads, path.rpartition("/")[2], receive, send)
        elif service in self._applications:
            await self._applications[service](scope, receive, send)
        else:
            await _answer(send, 501, refusal(path), b"application/json")


async def _put(uploads: Uploads, key: str, receive: _Receive, send: _Send) -> None:
    data = bytearray()
    try:
        while True:
            message = await receive()
            data += message.get("body") or b""
            if not message.get("more_body"):
                break
        await uploads.put(key, bytes(data))
    except ConnectError:
        await _answer(send, 413, f"expected at most {LARGEST} bytes, found more".encode())
    except KeyError:
        await _answer(send, 404, b"nobody was told to upload here")
    except ValueError as e:
        await _answer(send, 400, str(e).encode())
    except OSError as e:
        await _answer(send, 507, f"the upload cannot be kept: {e.strerror or e}".encode())
    else:
        await _answer(send, 200, b"")


async def _answer(send: _Send, status: int, body: bytes, kind: bytes = b"text/plain; charset=utf-8") -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
