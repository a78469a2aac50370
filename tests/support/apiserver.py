"""A Kubernetes API of a few lines on the loopback: objects, lists in pages, watches with bookmarks, and bad answers.

It does what a test says and nothing by itself: there is no controller and no kubelet, so a test moves pods on. What a
real cluster does is for the tests on one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import urllib3

from flyte_build.submit.kubernetes.api import Cluster

Object = dict[str, Any]
NAMESPACE = "team"


@dataclass(frozen=True)
class Bad:
    """An answer that is none: ``status`` (0: hang up) with a Status of ``reason``, ``Retry-After`` in seconds."""

    status: int
    reason: str = "InternalError"
    message: str = "no"
    retry_after: int | None = None


@dataclass
class ApiServer:
    """``objects`` by kind (``batch/v1/jobs``) and name; ``bad`` is asked before each request is answered; ``documents``
    are no objects, by path (``/version``); ``refused`` are paths that nobody may ask for; ``unserved``: versions of
    groups that it does not know (``kueue.x-k8s.io/v1beta2``)."""

    objects: dict[str, dict[str, Object]] = field(default_factory=dict)
    log: list[tuple[int, str, str, Object]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    bad: Callable[[str, str, dict[str, str]], Bad | None] = lambda method, kind, query: None
    answer: Callable[[str, str, Object], Object | None] = lambda method, kind, value: None
    documents: dict[str, Object | bytes] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    unserved: set[str] = field(default_factory=set)
    compacted: int = 0
    cut_after: int | None = None
    page: int = 500
    version: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)
    url: str = ""
    closing: bool = False

    def put(self, kind: str, value: Object, what: str = "") -> Object:
        """Make, change or (``DELETED``) remove an object as whoever else would."""
        with self.changed:
            held = self.objects.setdefault(kind, {})
            name = value["metadata"]["name"]
            self.version += 1
            value = {**value, "metadata": {**value["metadata"], "resourceVersion": str(self.version)}}
            if what == "DELETED":
                held.pop(name, None)
            else:
                what = "MODIFIED" if name in held else "ADDED"
                held[name] = value
            self.log.append((self.version, kind, what, value))
            self.changed.notify_all()
            return value

    def pod(self, job: str, phase: str = "Pending", *, suffix: str = "abcde", **status: Any) -> Object:
        labels = self.objects["batch/v1/jobs"][job]["metadata"].get("labels", {})
        metadata = {"name": f"{job}-{suffix}", "labels": {**labels, "job-name": job}, "creationTimestamp": suffix}
        value = {"metadata": metadata, "spec": {"nodeName": "n1"}, "status": {"phase": phase, **status}}
        return self.put("v1/pods", value)

    def event(self, about: str, kind: str, reason: str, message: str = "") -> Object:
        value = {
            "metadata": {"name": f"{about}.{self.version}"}, "reason": reason, "message": message,
            "involvedObject": {"kind": kind, "name": about},
        }  # fmt: skip
        return self.put("v1/events", value)

    def cluster(self, **more: Any) -> Cluster:
        return Cluster(self.url, urllib3.PoolManager(maxsize=8), namespace=NAMESPACE, **more)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is one write: a second one would wait until the first was acknowledged.
    wbufsize = -1
    api: ApiServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def do_PATCH(self) -> None:
        self._answer("PATCH")

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        where = urlsplit(self.path)
        query = {k: v[-1] for k, v in parse_qs(where.query).items()}
        api = self.api
        with api.changed:
            api.asked.append(f"{method} {self.path}")
            api.changed.notify_all()
        prefix, _, rest = where.path.partition(f"/namespaces/{NAMESPACE}/")
        if not rest:  # of no namespace
            prefix, _, rest = where.path.rpartition("/")
        plural, _, name = rest.partition("/")
        kind = f"{prefix.removeprefix('/apis/').removeprefix('/api/')}/{plural}"
        if (bad := api.bad(method, kind, query)) is not None:
            return self._bad(bad)
        if where.path in api.refused:
            return self._bad(Bad(403, "Forbidden", f"cannot list {plural} at the cluster scope"))
        if kind.rpartition("/")[0] in api.unserved:
            return self._bad(Bad(404, "NotFound", "the server could not find the requested resource"))
        if method == "POST":
            value = json.loads(body)
            if (told := api.answer(method, kind, value)) is not None:
                return self._send(201, told)
            return self._send(201, value) if query.get("dryRun") else self._create(kind, value)
        if method == "GET" and where.path in api.documents:
            return self._send(200, api.documents[where.path])
        if method == "GET" and query.get("watch"):
            return self._watch(kind, query)
        if method == "GET" and not name:
            return self._list(kind, query)
        found = api.objects.get(kind, {}).get(name)
        if found is None:
            return self._bad(Bad(404, "NotFound", f'{plural} "{name}" not found'))
        if method == "PATCH":
            assert self.headers["Content-Type"] == "application/merge-patch+json"
            return self._send(200, api.put(kind, _merged(found, json.loads(body))))
        if method == "DELETE":
            api.put(kind, found, "DELETED")
            for pod in [
                p for p in api.objects.get("v1/pods", {}).values() if p["metadata"]["labels"]["job-name"] == name
            ]:
                api.put("v1/pods", pod, "DELETED")
        return self._send(200, found)

    def _create(self, kind: str, value: Object) -> None:
        name = value["metadata"]["name"]
        if name in self.api.objects.get(kind, {}):
            return self._bad(Bad(409, "AlreadyExists", f'"{name}" already exists'))
        metadata = {"uid": f"uid-of-{name}", **value["metadata"]}
        return self._send(201, self.api.put(kind, {**value, "metadata": metadata}))

    def _list(self, kind: str, query: dict[str, str]) -> None:
        with self.api.changed:
            version = self.api.version
            held = [v for v in self.api.objects.get(kind, {}).values() if _selected(v, query)]
        first = int(query.get("continue") or 0)
        last = first + min(int(query.get("limit") or 500), self.api.page)
        metadata = {"resourceVersion": str(version)}
        if last < len(held):
            metadata["continue"] = str(last)
        return self._send(200, {"metadata": metadata, "items": held[first:last]})

    def _watch(self, kind: str, query: dict[str, str]) -> None:
        version = int(query["resourceVersion"])
        if version < self.api.compacted:
            return self._bad(Bad(410, "Expired", "too old resource version"))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        sent = 0
        while True:
            with self.api.changed:
                while not self.api.closing and self.api.version <= version:
                    self.api.changed.wait(30)
                news = [entry for entry in self.api.log if entry[0] > version]
                version = self.api.version
            if self.api.closing:
                return None
            for number, other, what, value in news:
                if other != kind or not _selected(value, query):
                    continue
                line = json.dumps({"type": what, "object": value}).encode() + b"\n"
                sent += 1
                if self.api.cut_after is not None and sent > self.api.cut_after:
                    self._chunk(line[: len(line) // 2])
                    self.wfile.write(b"0\r\n\r\n")
                    self.wfile.flush()
                    self.close_connection = True
                    return None
                self._chunk(line)
                self._chunk(
                    json.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(number)}}}).encode()
                    + b"\n"
                )

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _bad(self, bad: Bad) -> None:
        if bad.status == 0:
            self.close_connection = True
            return
        extra = {} if bad.retry_after is None else {"Retry-After": str(bad.retry_after)}
        self._send(bad.status, {"kind": "Status", "reason": bad.reason, "message": bad.message}, extra)

    def _send(self, status: int, value: Object | bytes, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)


def _merged(value: Any, change: Any) -> Any:
    """RFC 7396."""
    if not isinstance(change, dict):
        return change
    base = value if isinstance(value, dict) else {}
    kept = {k: v for k, v in base.items() if k not in change}
    return kept | {k: _merged(base.get(k), v) for k, v in change.items() if v is not None}


def _selected(value: Object, query: dict[str, str]) -> bool:
    wanted = dict(part.split("=", 1) for part in query.get("labelSelector", "").split(",") if part)
    other = (part.partition("!=") for part in query.get("fieldSelector", "").split(",") if part)
    unlike = all(_field(value, name) != told for name, _, told in other)
    return unlike and wanted.items() <= (value["metadata"].get("labels") or {}).items()


def _field(value: Any, name: str) -> str:
    for key in name.split("."):
        value = (value or {}).get(key)
    return str(value or "")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hung up


@contextmanager
def serving() -> Iterator[ApiServer]:
    api = ApiServer()
    handler = type("Handler", (_Handler,), {"api": api})
    with _Server(("127.0.0.1", 0), handler) as server:
        api.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield api
        finally:
            with api.changed:
                api.closing = True
                api.changed.notify_all()
            server.shutdown()
            thread.join()
