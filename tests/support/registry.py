"""A registry on the loopback that keeps to the specification, remembers what it was asked, and fails on request.

    with RegistryServer() as r:
        r.host                                  # 127.0.0.1:PORT
        r.requests                              # (method, path, status, bytes_in, bytes_out, kind, headers)
        r.count("GET", "blob"), r.bytes_in("session"), r.bytes_out("blob")
        r.fail("PATCH", "session", Fault(lost="body", at=100))      # the next one; times=2, after=1, match="…"

Kinds are ``ping``, ``token``, ``blob`` (by digest), ``upload`` (POST), ``session`` (PATCH, PUT, GET, DELETE of one),
``manifest``, ``tags``, ``referrers``. What it stores can be looked at and changed: ``blobs``, ``repositories``.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.registry_handler import RegistryHandler

__all__ = ["Fault", "RegistryServer", "Repository", "Seen", "sha256"]


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Seen(NamedTuple):
    """One request and its answer; a status of 0: the connection was lost before there was one."""

    method: str
    path: str
    status: int
    bytes_in: int
    bytes_out: int
    kind: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Fault:
    """One answer that is not the plain one.

    ``status``: this one instead (with ``body``, ``headers``), nothing done; ``early``: before the request's body is
    read. ``lost``: the connection is lost ``"before"`` the request's body is read, in the ``"body"`` after ``at``
    bytes of it (which count), ``"after"`` it was all done but before an answer, in the answer's ``"headers"``, or
    in the ``"answer"`` after ``at`` bytes of its body. ``flip``: the answer's body is changed at its middle.
    ``short``: it ends ``short`` bytes early and says so. ``digest``: of the header. ``silent``: seconds before
    anything is said. ``forget``: the upload is gone.
    """

    status: int | None = None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    early: bool = False
    lost: str | None = None
    at: int = 0
    flip: bool = False
    short: int = 0
    digest: str | None = None
    silent: float = 0.0
    forget: bool = False


@dataclass
class Repository:
    """Digests of its blobs; manifests (digest → media type, bytes); tags (→ digest); uploads in progress."""

    blobs: set[str] = field(default_factory=set)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)


@dataclass
class _Planned:
    fault: Fault
    times: int
    after: int
    match: str


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *arguments: Any) -> None:
        self.leaving: set[object] = set()
        super().__init__(*arguments)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.leaving.discard(request)

    def handle_error(self, *_: object) -> None:
        """Connections that end are what these tests are about."""


class RegistryServer:
    """See the module. ``auth``: ``None``, ``"basic"`` or ``"bearer"`` (then scopes are checked, and tokens live
    ``life`` s).

    ``mount``: ``"yes"``, ``"session"`` (202) or ``"refused"`` (405). ``patch``: whether chunks are taken;
    ``least``: their minimum, stated and enforced. ``partial``: what came of a lost chunk is kept; ``taken``: the
    status of one. ``status``: whether an upload can be asked for. ``referrers``: whether there is the API.
    ``redirect``: blobs are answered with a redirect to this URL + digest. ``tls``: certificate and key. ``page``:
    most entries of a list. ``strict``: manifests whose blobs are missing are refused. ``racing``: seconds for which a
    blob is out of sight while its link is written, with every upload, as docker-registry's is.
    """

    def __init__(
        self,
        *,
        auth: str | None = None,
        user: str = "user",
        password: str = "password",
        life: float = 300,
        anonymous: bool = False,
        mount: str = "yes",
        patch: bool = True,
        least: int = 0,
        partial: bool = True,
        taken: int = 202,
        status: bool = True,
        referrers: bool = True,
        ranges: bool = True,
        redirect: str | None = None,
        tls: tuple[Path, Path] | None = None,
        page: int = 1000,
        strict: bool = True,
        racing: float = 0.0,
    ) -> None:
        self.auth, self.user, self.password, self.life = auth, user, password, life
        self.mount, self.patch, self.least, self.partial, self.status = mount, patch, least, partial, status
        self.referrers, self.ranges, self.redirect, self.page, self.strict = referrers, ranges, redirect, page, strict
        self.taken, self.anonymous, self.racing = taken, anonymous, racing
        self.blobs: dict[str, bytes] = {}
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Seen] = []
        self.tokens: dict[str, tuple[set[str], float]] = {}
        self.allowed: Callable[[str, str], bool] = lambda repository, action: True
        self.guard = threading.RLock()
        self._planned: dict[tuple[str, str], list[_Planned]] = {}
        handler = type("Handler", (RegistryHandler,), {"registry": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.tls = tls
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def __enter__(self) -> RegistryServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    # -- what a test does ------------------------------------------------------------------------------

    def hung_up(self, _: float = 0) -> None:
        """What a client's wait does here: no second passes, but connections that the server ends have ended.

        Else a client that tries again at once may take one that is about to close, and that is another failure.
        """
        deadline = time.monotonic() + 10
        while self._server.leaving and time.monotonic() < deadline:
            time.sleep(0.001)

    def leave(self, connection: object) -> None:
        """Note that the connection ends with the answer that is about to be sent."""
        self._server.leaving.add(connection)

    def repository(self, name: str) -> Repository:
        with self.guard:
            return self.repositories.setdefault(name, Repository())

    def put_blob(self, repository: str, data: bytes) -> str:
        """Store a blob without a request; gives its digest."""
        digest = sha256(data)
        with self.guard:
            self.blobs[digest] = data
            self.repository(repository).blobs.add(digest)
        return digest

    def fail(
        self,
        method: str,
        kind: str,
        fault: Fault | None = None,
        *,
        times: int = 1,
        after: int = 0,
        match: str = "",
        **how: Any,
    ) -> None:
        """Let the next ``times`` such requests (after ``after`` that are well; whose path has ``match``) go wrong."""
        planned = _Planned(fault or Fault(**how), times, after, match)
        with self.guard:
            self._planned.setdefault((method, kind), []).append(planned)

    def seen(self, method: str | None = None, kind: str | None = None) -> list[Seen]:
        with self.guard:
            return [s for s in self.requests if method in (None, s.method) and kind in (None, s.kind)]

    def count(self, method: str | None = None, kind: str | None = None) -> int:
        return len(self.seen(method, kind))

    def bytes_in(self, kind: str | None = None) -> int:
        return sum(s.bytes_in for s in self.seen(None, kind))

    def bytes_out(self, kind: str | None = None) -> int:
        return sum(s.bytes_out for s in self.seen(None, kind))

    def forget_requests(self) -> None:
        with self.guard:
            self.requests.clear()

    def expire_tokens(self) -> None:
        """No token that was given is good any more."""
        with self.guard:
            self.tokens.clear()

    def dangling(self) -> list[str]:
        """What tags lead to and is not there, or is not what its digest says: empty, whatever clients did."""
        found = []
        with self.guard:
            for name, repository in self.repositories.items():
                waiting = [(f"{name}:{tag}", digest) for tag, digest in repository.tags.items()]
                while waiting:
                    whence, digest = waiting.pop()
                    kept = repository.manifests.get(digest)
                    if kept is None or sha256(kept[1]) != digest:
                        found.append(f"{whence}: manifest {digest}")
                        continue
                    document = json.loads(kept[1])
                    waiting += [(whence, d["digest"]) for d in document.get("manifests", ())]
                    for d in (*document.get("layers", ()), *([document["config"]] if "config" in document else [])):
                        data = self.blobs.get(d["digest"], b"")
                        if d["digest"] not in repository.blobs or sha256(data) != d["digest"] or len(data) != d["size"]:
                            found.append(f"{whence}: blob {d['digest']}")
        return found

    # -- what the handler asks -------------------------------------------------------------------------

    def fault(self, method: str, kind: str, path: str) -> Fault:
        with self.guard:
            for planned in self._planned.get((method, kind), []):
                if not re.search(planned.match, path):
                    continue
                if planned.after:
                    planned.after -= 1
                    continue
                if planned.times:
                    planned.times -= 1
                    return planned.fault
        return Fault()
