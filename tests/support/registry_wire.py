"""One connection of the tests' registry: routes, faults, who is let in, and how answers go out."""

from __future__ import annotations

import base64
import json
import re
import secrets
import socket
import struct
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from tests.support.registry import Fault, RegistryServer, Repository

__all__ = ["Answer", "Wire", "problem"]

_ROUTES = [
    ("ping", r"/v2/?"),
    ("token", r"/token"),
    ("upload", r"/v2/(?P<name>.+)/blobs/uploads/?"),
    ("session", r"/v2/(?P<name>.+)/blobs/uploads/(?P<id>[^/]+)"),
    ("blob", r"/v2/(?P<name>.+)/blobs/(?P<id>[^/]+)"),
    ("manifest", r"/v2/(?P<name>.+)/manifests/(?P<id>[^/]+)"),
    ("tags", r"/v2/(?P<name>.+)/tags/list"),
    ("referrers", r"/v2/(?P<name>.+)/referrers/(?P<id>[^/]+)"),
]


class _Lost(Exception):
    """The connection ends here."""


class Answer(Exception):
    """The request ends here, with this."""

    def __init__(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, dict(headers or {})


def problem(status: int, code: str, message: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": message or code.lower().replace("_", " ")}]}).encode()
    return Answer(status, body, {"Content-Type": "application/json", **(headers or {})})


class Wire(BaseHTTPRequestHandler):
    """``registry`` is set by a subclass; what a ``METHOD`` on a kind does is its method ``_METHOD_kind``."""

    # Headers and body are written apart: without this every answer waits for an acknowledgement that is late.
    disable_nagle_algorithm = True

    protocol_version = "HTTP/1.1"
    timeout = 20
    registry: RegistryServer

    def handle_any(self) -> None:
        parts = urlsplit(self.path)
        self.query = {k: v[-1] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        self.scopes = parse_qs(parts.query).get("scope", [])
        self.kind, self.name, self.id = "unknown", "", ""
        for kind, pattern in _ROUTES:
            if found := re.fullmatch(pattern, parts.path):
                self.kind = kind
                self.name, self.id = found.groupdict().get("name", ""), found.groupdict().get("id", "")
                break
        self.taken = self.status = self.given = 0
        self.noted = False
        self.fault: Fault = self.registry.fault(self.command, self.kind, self.path)
        try:
            try:
                self._act()
            except Answer as answer:
                self._say(answer)
        except (_Lost, OSError):
            self._cut()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def log_message(self, *_: object) -> None:
        return None

    # -- requests --------------------------------------------------------------------------------------

    def _act(self) -> None:
        fault = self.fault
        time.sleep(fault.silent)
        if fault.lost == "before":
            raise _Lost
        if fault.status is not None:
            if not fault.early:
                self._body()
            else:
                self.close_connection = True
            raise Answer(fault.status, fault.body, fault.headers)
        self._let_in()
        if self.kind == "unknown":
            raise problem(404, "NOT_FOUND")
        with self.registry.guard:
            if fault.forget:
                self.registry.repository(self.name).uploads.pop(self.id, None)
        method = getattr(self, f"_{self.command.lower()}_{self.kind}", None) or getattr(self, f"_any_{self.kind}", None)
        if method is None:
            self._body()
            raise problem(405, "UNSUPPORTED")
        method()

    def _body(self) -> bytes:
        """The request's body; a fault may end it early."""
        if self.headers.get("Transfer-Encoding"):
            raise problem(411, "SIZE_INVALID", "expected a Content-Length")
        length = int(self.headers.get("Content-Length") or 0)
        if self.fault.lost == "body":
            length = min(length, self.fault.at)
        found = bytearray()
        while len(found) < length:
            piece = self.rfile.read(min(1 << 16, length - len(found)))
            if not piece:
                break
            found += piece
            self.taken = len(found)
        if len(found) < length or self.fault.lost == "body":
            if self.command == "PATCH" and self.registry.partial:
                with self.registry.guard:
                    upload = self._repository().uploads.get(self.id)
                    if upload is not None:
                        upload += found
            raise _Lost
        return bytes(found)

    def _repository(self) -> Repository:
        return self.registry.repository(self.name)

    def _let_in(self) -> None:
        server = self.registry
        if server.auth is None or self.kind == "token":
            return
        given = self.headers.get("Authorization", "")
        basic = "Basic " + base64.b64encode(f"{server.user}:{server.password}".encode()).decode()
        action = "pull" if self.command in ("GET", "HEAD") and self.kind != "session" else "push"
        wanted = [(self.name, action)] if self.name else []
        if self.kind == "upload" and "mount" in self.query and self.query.get("from"):
            wanted.append((self.query["from"], "pull"))
        if server.auth == "basic":
            if given != basic:
                self.close_connection = True
                raise problem(401, "UNAUTHORIZED", headers={"WWW-Authenticate": 'Basic realm="registry"'})
            if not all(server.allowed(*one) for one in wanted):
                self.close_connection = True
                raise problem(403, "DENIED")
            return
        with server.guard:
            granted, until = server.tokens.get(given.removeprefix("Bearer "), (set(), 0.0))
        missing = [f"repository:{name}:{action}" for name, action in wanted[:1] if f"{name}:{action}" not in granted]
        if time.monotonic() < until and len(wanted) > 1 and f"{wanted[1][0]}:pull" not in granted:
            self.query.pop("mount")
        if time.monotonic() >= until or missing:
            self.close_connection = True
            asked = f',scope="{missing[0]}"' if missing else ""
            field = f'Bearer realm="{server.url}/token",service="test, service"{asked}'
            raise problem(401, "UNAUTHORIZED", headers={"WWW-Authenticate": field})

    def _any_token(self) -> None:
        server, form = self.registry, self._body().decode()
        given = self.headers.get("Authorization", "")
        basic = "Basic " + base64.b64encode(f"{server.user}:{server.password}".encode()).decode()
        if self.command == "POST":
            fields = {k: v[-1] for k, v in parse_qs(form).items()}
            good, scopes = fields.get("refresh_token") == server.password, fields.get("scope", "").split()
        else:
            good, scopes = given == basic, self.scopes
        anonymous = server.anonymous and not given
        if not good and not anonymous:
            raise problem(401, "UNAUTHORIZED", "incorrect username or password")
        granted = set()
        for scope in scopes:
            _, name, actions = scope.split(":", 2)
            listed = [a for a in actions.split(",") if server.allowed(name, a)]
            granted |= {f"{name}:{a}" for a in listed if a == "pull" or not anonymous}
        value = secrets.token_urlsafe(24)
        with server.guard:
            server.tokens[value] = (granted, time.monotonic() + server.life)
        self._json({"token": value, "expires_in": server.life})

    # -- answers ---------------------------------------------------------------------------------------

    def _json(self, document: Any, headers: Mapping[str, str] | None = None) -> None:
        raise Answer(200, json.dumps(document).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _say(self, answer: Answer) -> None:
        fault = self.fault
        if self.close_connection:
            self.registry.leave(self.request)
        if fault.lost == "after":
            raise _Lost
        body = bytearray(answer.body)
        if fault.flip and body:
            body[len(body) // 2] ^= 1
        if fault.short:
            del body[-fault.short :]
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection and not fault.early:
            # Only who fails early hangs up without a word.
            self.send_header("Connection", "close")
        if fault.lost == "headers":
            half = b"".join(self._headers_buffer)  # type: ignore[attr-defined]
            self._headers_buffer = []
            self.wfile.write(half[: len(half) // 2])
            raise _Lost
        if self.command == "HEAD":
            body.clear()
        self.status = answer.status
        self.given = end = min(len(body), fault.at) if fault.lost == "answer" else len(body)
        # Before the client can go on: what it asks for next comes after this in the list.
        self._note()
        self.end_headers()
        self.wfile.write(body[:end])
        if fault.lost == "answer":
            raise _Lost

    def _cut(self) -> None:
        self.close_connection = True
        if not self.noted:
            self._note()
        if self.fault.lost == "before":
            # At once: what was not read is lost on the other side too.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _note(self) -> None:
        from tests.support.registry import Seen

        self.noted = True
        lowered = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, self.path, self.status, self.taken, self.given, self.kind, lowered)
        with self.registry.guard:
            self.registry.requests.append(seen)
