"""A package index on the loopback: the Simple API (PEP 503, 691, 658, 700) over a folder's wheels, with faults.

    with SimpleIndex(folder) as index:
        index.url        # the Simple API's root
        index.asked      # every request's "METHOD /path"

What an index may leave unsaid, or do wrong, is an attribute that a test sets.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

__all__ = ["SimpleIndex"]


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class _Server(ThreadingHTTPServer):
    # More than connect at a time: who finds the queue full tries again after a second.
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is its own affair."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class SimpleIndex:
    """Serves the files of ``folder`` as they are when asked.

    ``json``, ``hashes``, ``sizes``, ``metadata`` (PEP 658), ``ranges`` and among them ``suffixes`` (``bytes=-N``):
    what it does; ``uploaded`` maps a file name to its upload time, ``python`` to its Requires-Python, ``yanked`` to the
    reason, ``lies`` to the SHA-256 it states; ``failing`` maps a path's beginning to the statuses to answer first (0
    closes the connection), then the request succeeds; an endless one is ``itertools.repeat``. ``login`` is
    ``user:password``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.json = self.hashes = self.ranges = self.suffixes = True
        self.sizes = self.metadata = False
        self.uploaded: dict[str, str] = {}
        self.python: dict[str, str] = {}
        self.yanked: dict[str, str] = {}
        self.lies: dict[str, str] = {}
        self.failing: dict[str, Iterator[int]] = {}
        self.cuts: dict[str, int] = {}
        self.login: str | None = None
        self.asked: list[str] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                index._answer(self)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                return None

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> SimpleIndex:
        self._thread.start()
        return self

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/simple"

    def sha256(self, name: str) -> str:
        return hashlib.sha256((self.folder / name).read_bytes()).hexdigest()

    # -- answering -------------------------------------------------------------------------------------

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(f"{request.command} {request.path}")
        for prefix, statuses in self.failing.items():
            status = next(statuses, None) if request.path.startswith(prefix) else None
            if status == 0:
                request.close_connection = True
                return None
            if status is not None:
                return self._send(request, status, "text/plain", b"no")
        if self.login is not None:
            wanted = "Basic " + base64.b64encode(self.login.encode()).decode()
            if request.headers.get("Authorization") != wanted:
                return self._send(request, 401, "text/plain", b"who are you")
        if m := re.fullmatch(r"/simple/([^/]+)/", request.path):
            return self._project(request, m[1])
        if m := re.fullmatch(r"/files/([^/]+?)(\.metadata)?", request.path):
            path = self.folder / m[1]
            if path.is_file() and (not m[2] or self.metadata):
                if m[1] in self.cuts and not m[2]:
                    return self._cut(request, path.read_bytes(), self.cuts[m[1]])
                return self._file(request, _metadata(path) if m[2] else path.read_bytes(), ranges=not m[2])
        return self._send(request, 404, "text/plain", b"not here")

    def _files(self, project: str) -> list[dict[str, object]]:
        out: list[dict[str, object]] = []
        for path in sorted(self.folder.iterdir()):
            stem = path.name.split("-")[0]
            if not path.name.endswith((".whl", ".tar.gz", ".zip")) or _normalised(stem) != project:
                continue
            entry: dict[str, object] = {"filename": path.name, "url": f"../../files/{path.name}", "hashes": {}}
            if self.hashes:
                entry["hashes"] = {"sha256": self.lies.get(path.name, self.sha256(path.name))}
            if self.sizes:
                entry["size"] = path.stat().st_size
            if path.name in self.uploaded:
                entry["upload-time"] = self.uploaded[path.name]
            if path.name in self.python:
                entry["requires-python"] = self.python[path.name]
            if path.name in self.yanked:
                entry["yanked"] = self.yanked[path.name]
            if self.metadata and path.suffix == ".whl":
                entry["core-metadata"] = {"sha256": hashlib.sha256(_metadata(path)).hexdigest()}
            out.append(entry)
        return out

    def _project(self, request: BaseHTTPRequestHandler, project: str) -> None:
        files = self._files(project)
        if not files:
            return self._send(request, 404, "text/plain", b"no such project")
        if self.json and "json" in request.headers.get("Accept", ""):
            body = {"meta": {"api-version": "1.1"}, "name": project, "versions": [], "files": files}
            kind = "application/vnd.pypi.simple.v1+json"
            return self._send(request, 200, kind, json.dumps(body).encode())
        rows = []
        for f in files:
            hashes = f["hashes"]
            assert isinstance(hashes, dict)
            href = f"{f['url']}#sha256={hashes['sha256']}" if hashes else f["url"]
            attributes = {
                "data-requires-python": f.get("requires-python"),
                "data-yanked": f.get("yanked"),
                "data-upload-time": f.get("upload-time"),
            }
            shown = "".join(f' {k}="{html.escape(str(v))}"' for k, v in attributes.items() if v is not None)
            rows.append(f'<a href="{href}"{shown}>{f["filename"]}</a><br>')
        page = f"<!DOCTYPE html><html><body>\n{chr(10).join(rows)}\n</body></html>"
        return self._send(request, 200, "text/html", page.encode())

    def _file(self, request: BaseHTTPRequestHandler, body: bytes, *, ranges: bool) -> None:
        m = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
        if not (self.ranges and ranges and m):
            return self._send(request, 200, "application/octet-stream", body)
        if not m[1] and not self.suffixes:
            return self._send(request, 501, "text/plain", b"no such ranges")
        start = int(m[1]) if m[1] else max(0, len(body) - int(m[2]))
        stop = min(len(body), int(m[2]) + 1) if m[1] and m[2] else len(body)
        span = f"bytes {start}-{stop - 1}/{len(body)}"
        return self._send(request, 206, "application/octet-stream", body[start:stop], {"Content-Range": span})

    def _cut(self, request: BaseHTTPRequestHandler, body: bytes, after: int) -> None:
        """The whole is promised, and from wherever one asks nothing past ``after`` comes."""
        m = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        start = int(m[1]) if m else 0
        request.send_response(206 if m else 200)
        if m:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        request.wfile.write(body[start:after])
        request.close_connection = True

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, kind: str, body: bytes, more: dict[str, str] | None = None
    ) -> None:
        request.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)


def _metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA")))
