r"""A server that hears a request and says nothing, for whoever wants to be interrupted while he waits for it.

What is not to be held is passed on to a real one: ``mute = Mute(upstream, r"\.whl$")``; without, every request is held.
"""

from __future__ import annotations

import http.client
import queue
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Mute"]

_HOP = {"connection", "transfer-encoding", "keep-alive"}


class Mute:
    """``held`` has ``METHOD /path`` of each request that is held until the server is closed."""

    def __init__(self, upstream: str = "", holding: str = "") -> None:
        self.held: queue.Queue[str] = queue.Queue()
        self._upstream = urlsplit(upstream)
        self._holding = re.compile(holding)
        self._closed = threading.Event()
        mute = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                mute._answer(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _any

            def log_message(self, format: str, *args: Any) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}{self._upstream.path}"

    def __enter__(self) -> Mute:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        asked = f"{request.command} {request.path}"
        if not self._upstream.netloc or self._holding.search(asked):
            self.held.put(asked)
            self._closed.wait()
            return
        length = int(request.headers.get("Content-Length") or 0)
        there = http.client.HTTPConnection(self._upstream.netloc, timeout=60)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        there.request(request.command, request.path, request.rfile.read(length) if length else None, headers)
        answer = there.getresponse()
        body = answer.read()
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in (*_HOP, "content-length", "date", "server"):
                request.send_header(name, value)
        told = answer.getheader("Content-Length") if request.command == "HEAD" else None
        request.send_header("Content-Length", told or str(len(body)))
        request.send_header("Connection", "close")
        request.end_headers()
        request.wfile.write(body)
        there.close()
