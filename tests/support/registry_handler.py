"""What the registry of :mod:`tests.support.registry` says on the wire: the distribution specification, and faults."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import socket
import struct
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

if TYPE_CHECKING:
    from tests.support.registry import Fault, RegistryServer, Repository

__all__ = ["RegistryHandler"]

_INDEX = "application/vnd.oci.image.index.v1+json"
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


class _Answer(Exception):
    """The request ends here, with this."""

    def __init__(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, dict(headers or {})


def _error(status: int, code: str, message: str = "", headers: Mapping[str, str] | None = None) -> _Answer:
    body = json.dumps({"errors": [{"code": code, "message": message or code.lower().replace("_", " ")}]}).encode()
    return _Answer(status, body, {"Content-Type": "application/json", **(headers or {})})


class RegistryHandler(BaseHTTPRequestHandler):
    """One connection. ``registry`` is set by a subclass."""

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
            except _Answer as answer:
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
            raise _Answer(fault.status, fault.body, fault.headers)
        self._let_in()
        if self.kind == "unknown":
            raise _error(404, "NOT_FOUND")
        with self.registry.guard:
            if fault.forget:
                self.registry.repository(self.name).uploads.pop(self.id, None)
        method = getattr(self, f"_{self.command.lower()}_{self.kind}", None) or getattr(self, f"_any_{self.kind}", None)
        if method is None:
            self._body()
            raise _error(405, "UNSUPPORTED")
        method()

    def _body(self) -> bytes:
        """The request's body; a fault may end it early."""
        if self.headers.get("Transfer-Encoding"):
            raise _error(411, "SIZE_INVALID", "expected a Content-Length")
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
                raise _error(401, "UNAUTHORIZED", headers={"WWW-Authenticate": 'Basic realm="registry"'})
            if not all(server.allowed(*one) for one in wanted):
                self.close_connection = True
                raise _error(403, "DENIED")
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
            raise _error(401, "UNAUTHORIZED", headers={"WWW-Authenticate": field})

    def _any_token(self) -> None:
        server, form = self.registry, self._body().decode()
        given = self.headers.get("Authorization", "")
        basic = "Basic " + base64.b64encode(f"{server.user}:{server.password}".encode()).decode()
        if self.command == "POST":
            fields = {k: v[-1] for k, v in parse_qs(form).items()}
            good, scopes = fields.get("refresh_token") == server.password, fields.get("scope", "").split()
        else:
            good, scopes = given == basic, self.scopes
        if not good:
            raise _error(401, "UNAUTHORIZED", "incorrect username or password")
        granted = set()
        for scope in scopes:
            _, name, actions = scope.split(":", 2)
            granted |= {f"{name}:{a}" for a in actions.split(",") if server.allowed(name, a)}
        value = secrets.token_urlsafe(24)
        with server.guard:
            server.tokens[value] = (granted, time.monotonic() + server.life)
        self._json({"token": value, "expires_in": server.life})

    def _get_ping(self) -> None:
        self._json({})

    # -- blobs -----------------------------------------------------------------------------------------

    def _get_blob(self) -> None:
        with self.registry.guard:
            known = self.id in self._repository().blobs
            data = self.registry.blobs.get(self.id, b"")
        if not known:
            raise _error(404, "BLOB_UNKNOWN")
        if self.registry.redirect is not None and self.command == "GET":
            raise _Answer(307, headers={"Location": self.registry.redirect + self.id})
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": self.id}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.registry.ranges:
            start = int(asked[1])
            if start >= len(data):
                raise _error(416, "RANGE_INVALID")
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            raise _Answer(206, data[start:], headers)
        raise _Answer(200, data, headers)

    _head_blob = _get_blob

    def _post_upload(self) -> None:
        self._body()
        server, wanted, source = self.registry, self.query.get("mount"), self.query.get("from", "")
        if "mount" in self.query and server.mount == "refused":
            raise _error(405, "UNSUPPORTED")
        with server.guard:
            if wanted and server.mount == "yes" and wanted in server.repository(source).blobs:
                self._repository().blobs.add(wanted)
                raise _Answer(201, headers=self._there(wanted))
            session = secrets.token_hex(8)
            self._repository().uploads[session] = bytearray()
        raise _Answer(202, headers=self._going(session, 0))

    def _patch_session(self) -> None:
        if not self.registry.patch:
            self._body()
            raise _error(405, "UNSUPPORTED")
        upload = self._upload()
        asked = re.fullmatch(r"(\d+)-(\d+)", self.headers.get("Content-Range", ""))
        length = int(self.headers.get("Content-Length") or 0)
        if asked and (int(asked[1]) != len(upload) or int(asked[2]) - int(asked[1]) + 1 != length):
            self._body()
            raise _error(416, "RANGE_INVALID")
        data = self._body()
        with self.registry.guard:
            # A chunk below the minimum must have been the last.
            if getattr(upload, "ended", False):
                raise _error(416, "SIZE_INVALID")
            upload += data
            if len(data) < self.registry.least:
                ended = _Ended(upload)
                self._repository().uploads[self.id] = upload = ended
        raise _Answer(202, headers=self._going(self.id, len(upload)))

    def _get_session(self) -> None:
        if not self.registry.status:
            raise _error(405, "UNSUPPORTED")
        raise _Answer(204, headers=self._going(self.id, len(self._upload())))

    def _put_session(self) -> None:
        upload = self._upload()
        data = self._body()
        wanted = self.query.get("digest", "")
        algorithm = wanted.partition(":")[0] or "sha256"
        with self.registry.guard:
            whole = bytes(upload) + data
            self._repository().uploads.pop(self.id, None)
            if f"{algorithm}:{hashlib.new(algorithm, whole).hexdigest()}" != wanted:
                raise _error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
            self.registry.blobs[wanted] = whole
            self._repository().blobs.add(wanted)
        raise _Answer(201, headers=self._there(wanted))

    def _delete_session(self) -> None:
        with self.registry.guard:
            self._repository().uploads.pop(self.id, None)
        raise _Answer(204)

    def _upload(self) -> bytearray:
        with self.registry.guard:
            found = self._repository().uploads.get(self.id)
        if found is None:
            self._body()
            raise _error(404, "BLOB_UPLOAD_UNKNOWN")
        return found

    def _going(self, session: str, offset: int) -> dict[str, str]:
        headers = {"Location": f"/v2/{self.name}/blobs/uploads/{session}?state={secrets.token_hex(4)}"}
        headers["Range"] = f"0-{max(0, offset - 1)}"
        if self.registry.least:
            headers["OCI-Chunk-Min-Length"] = str(self.registry.least)
        return headers

    def _there(self, digest: str) -> dict[str, str]:
        return {"Location": f"/v2/{self.name}/blobs/{digest}", "Docker-Content-Digest": self.fault.digest or digest}

    # -- manifests -------------------------------------------------------------------------------------

    def _get_manifest(self) -> None:
        with self.registry.guard:
            repository = self._repository()
            digest = repository.tags.get(self.id, self.id)
            kept = repository.manifests.get(digest)
        if kept is None:
            raise _error(404, "MANIFEST_UNKNOWN")
        headers = {"Content-Type": kept[0], "Docker-Content-Digest": self.fault.digest or digest}
        raise _Answer(200, kept[1], headers)

    _head_manifest = _get_manifest

    def _put_manifest(self) -> None:
        data = self._body()
        algorithm = self.id.partition(":")[0] if ":" in self.id else "sha256"
        digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
        if ":" in self.id and self.id != digest:
            raise _error(400, "DIGEST_INVALID")
        document = json.loads(data)
        with self.registry.guard:
            repository = self._repository()
            needed = {d["digest"] for d in (*document.get("layers", ()), document.get("config")) if d}
            missing = needed - repository.blobs
            missing |= {d["digest"] for d in document.get("manifests", ())} - set(repository.manifests)
            tag = not self.id.startswith(("sha256:", "sha512:"))
            if missing and self.registry.strict and not (tag and self.id.startswith("sha256-")):
                raise _error(400, "MANIFEST_BLOB_UNKNOWN", ", ".join(sorted(missing)))
            repository.manifests[digest] = (self.headers.get("Content-Type", ""), data)
            if tag:
                repository.tags[self.id] = digest
        headers = {"Location": f"/v2/{self.name}/manifests/{digest}"}
        headers["Docker-Content-Digest"] = self.fault.digest or digest
        if "subject" in document and self.registry.referrers:
            headers["OCI-Subject"] = document["subject"]["digest"]
        raise _Answer(201, headers=headers)

    def _delete_manifest(self) -> None:
        with self.registry.guard:
            repository = self._repository()
            repository.tags.pop(self.id, None)
            repository.manifests.pop(self.id, None)
        raise _Answer(202)

    def _get_tags(self) -> None:
        with self.registry.guard:
            if self.name not in self.registry.repositories:
                raise _error(404, "NAME_UNKNOWN")
            names = sorted(self._repository().tags)
        names, more = self._page([t for t in names if t > self.query.get("last", "")])
        headers = {}
        if more:
            asked = urlencode({"n": self.query.get("n", ""), "last": names[-1]})
            headers["Link"] = f'</v2/{self.name}/tags/list?{asked}>; rel="next"'
        self._json({"name": self.name, "tags": names}, headers)

    def _get_referrers(self) -> None:
        if not self.registry.referrers:
            raise _error(404, "NOT_FOUND")
        found = []
        with self.registry.guard:
            manifests = sorted(self._repository().manifests.items())
        for digest, (kind, data) in manifests:
            document = json.loads(data)
            if document.get("subject", {}).get("digest") != self.id:
                continue
            artifact = document.get("artifactType") or document.get("config", {}).get("mediaType")
            entry = {"mediaType": kind, "digest": digest, "size": len(data), "artifactType": artifact}
            if "annotations" in document:
                entry["annotations"] = document["annotations"]
            found.append(entry)
        found = [d for d in found if d["digest"] > self.query.get("last", "")]
        found, more = self._page(found)
        headers = {"Content-Type": _INDEX}
        if more:
            headers["Link"] = f'</v2/{self.name}/referrers/{self.id}?last={found[-1]["digest"]}>; rel="next"'
        self._json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": found}, headers)

    def _page(self, entries: list[Any]) -> tuple[list[Any], bool]:
        count = min(self.registry.page, int(self.query.get("n") or self.registry.page))
        return entries[:count], len(entries) > count

    # -- answers ---------------------------------------------------------------------------------------

    def _json(self, document: Any, headers: Mapping[str, str] | None = None) -> None:
        raise _Answer(200, json.dumps(document).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _say(self, answer: _Answer) -> None:
        fault = self.fault
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


class _Ended(bytearray):
    """An upload whose last chunk was below the minimum."""

    ended = True
