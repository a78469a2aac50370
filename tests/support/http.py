"""A file server on the loopback interface that misbehaves on request, and remembers what it was asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from flyte_build.deriving.derivation import Artifact
from flyte_build.sources.places import Place

__all__ = ["Fault", "FileServer", "Seen", "ServerLocator", "serving"]


@dataclass(frozen=True)
class Fault:
    """One answer that is not the plain one. ``status`` alone: no body. ``cut``: the body ends after that many
    bytes. ``body``: other bytes. ``whole``: ranges are not known. ``delay``: seconds before each 64 KiB.
    ``silent``: seconds in which nothing is said at all."""

    status: int = 200
    cut: int | None = None
    body: bytes | None = None
    whole: bool = False
    delay: float = 0.0
    silent: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """One request and how it was answered: ``start`` of the range asked for, ``sent`` bytes of body."""

    path: str
    start: int | None
    status: int
    sent: int
    headers: Mapping[str, str]


class FileServer:
    """Serves ``files`` by path; ``faults[path]`` are used up one by one, the last one for ever if ``forever``."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.forever: set[str] = set()
        self._seen: list[Seen] = []
        self._answering = 0
        self.url = ""
        self._guard = threading.Condition()

    def put(self, name: str, data: bytes, *faults: Fault, forever: bool = False) -> str:
        path = f"/{name}"
        self.files[path] = data
        self.faults[path] = list(faults)
        if forever:
            self.forever.add(path)
        return self.url + path

    @property
    def seen(self) -> list[Seen]:
        """Every request that was answered. A client has the last byte before the server has noted that it sent it."""
        with self._guard:
            self._guard.wait_for(lambda: not self._answering, timeout=5)
            return list(self._seen)

    def sent(self, name: str) -> int:
        """Bytes of body sent for ``name`` so far."""
        return sum(s.sent for s in self.seen if s.path == f"/{name}")

    def next_fault(self, path: str) -> Fault:
        with self._guard:
            queue = self.faults.get(path, [])
            if not queue:
                return Fault()
            return queue[0] if path in self.forever and len(queue) == 1 else queue.pop(0)

    def begin(self) -> None:
        with self._guard:
            self._answering += 1

    def note(self, seen: Seen | None) -> None:
        """The end of a request; ``None``: it was not answered."""
        with self._guard:
            self._answering -= 1
            if seen is not None:
                self._seen.append(seen)
            self._guard.notify_all()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: FileServer

    def do_GET(self) -> None:
        self.files.begin()
        seen = None
        try:
            seen = self._answer()
        finally:
            self.files.note(seen)

    def _answer(self) -> Seen:
        fault = self.files.next_fault(self.path)
        data = self.files.files.get(self.path)
        time.sleep(fault.silent)
        start = _start(self.headers.get("Range"))
        status = 404 if data is None else fault.status
        body = b"" if data is None or status != 200 else (data if fault.body is None else fault.body)
        self.close_connection = True
        headers = dict(fault.headers)
        if status == 200 and start is not None and not fault.whole:
            if start >= len(body):
                status, body = 416, b""
            else:
                status = 206
                headers.setdefault("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                body = body[start:]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        sent = 0
        for at in range(0, min(len(body), len(body) if fault.cut is None else fault.cut), 1 << 16):
            time.sleep(fault.delay)
            end = min(at + (1 << 16), len(body) if fault.cut is None else fault.cut)
            try:
                self.wfile.write(body[at:end])
            except OSError:
                break
            sent += end - at
        lowered = {name.lower(): value for name, value in self.headers.items()}
        return Seen(self.path, start, status, sent, lowered)

    def log_message(self, *_: object) -> None:
        return None


def _start(header: str | None) -> int | None:
    return int(header.removeprefix("bytes=").partition("-")[0]) if header else None


@contextmanager
def serving() -> Iterator[FileServer]:
    """A server for the time of a ``with`` block."""
    files = FileServer()
    handler = type("Handler", (_Handler,), {"files": files})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    files.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class ServerLocator:
    """Artifacts by file name from these servers' roots, in order."""

    def __init__(self, *roots: str) -> None:
        self._roots = roots
        self._client = httpx.Client(trust_env=False, timeout=5)

    def places(self, artifact: Artifact) -> Iterator[Place]:
        for root in self._roots:
            yield Place(f"{root}/{artifact.file}", lambda u, h: self._client.stream("GET", u, headers=dict(h)))

    def close(self) -> None:
        self._client.close()
        self._client = httpx.Client(trust_env=False, timeout=5)
