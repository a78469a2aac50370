"""A blob into a registry: by a mount where a neighbour repository has it, else in chunks that resume, else in one
request.

Follows the distribution specification's "Push". Chunks are bounded, so that a lost connection costs no more than
one with a registry that keeps only whole ones; after a loss the registry says how far it got. One that refuses
chunks gets the blob in one request. An upload counts when the registry has confirmed the digest.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import quote, urljoin, urlsplit

from ..kernel.documents import is_number
from ..kernel.errors import RegistryError
from ..kernel.values import dataclass, replace
from .failures import StatusError, Transient, refused
from .messages import Access, Answer, Request
from .secrets import redact_url
from .transport import Transport
from .upload_body import Outgoing

__all__ = ["CHUNK", "Upload"]

CHUNK = 32 << 20
"""Bytes of a chunk, unless the registry's ``OCI-Chunk-Min-Length`` asks for more."""
_MOST = 1 << 30
_CREATED = frozenset({200, 201, 204})
# 202 is the specification's word for a chunk; registries that came before its first version have others.
_TAKEN = frozenset({201, 202, 204})
_REFUSALS = frozenset({400, 404, 405, 411, 413, 415, 416, 501})
_ENDED = frozenset({400, 404, 405, 410, 416, 501})


@dataclass(frozen=True, slots=True)
class Session:
    """An upload in progress: where it goes on, from which ``offset``, and the ``least`` bytes of a chunk."""

    location: str
    offset: int = 0
    least: int = 0


class Upload:
    """One blob on its way; used by one thread, once.

    ``whole``: without chunks; becomes true where chunks are refused.
    """

    def __init__(
        self, transport: Transport, access: Access, blob: Outgoing, *, chunk: int = CHUNK, whole: bool = False
    ) -> None:
        self.whole = whole
        self._transport = transport
        self._access = access
        self._blob = blob
        self._chunk = chunk
        self._session: Session | None = None
        self._refusals = 0
        self._finishing = False

    def exists(self) -> bool:
        """Whether the repository has the blob."""
        url = self._url(f"blobs/{self._blob.digest}")
        answer = self._transport.send(Request("HEAD", url, self._access, frozenset({200, 404})))
        if answer.status == 404:
            return False
        length = answer.headers.get("content-length", "")
        if is_number(length) and int(length) != self._blob.size:
            raise RegistryError(
                f"HEAD {redact_url(url)}: expected {self._blob.size} bytes, found {length}",
                hint="the registry has other bytes under this digest, or the size that was stated is wrong",
            )
        return True

    def mount(self, repositories: Sequence[str]) -> bool:
        """Have the blob taken from the first of ``repositories`` (of the same registry) that has it; whether it was.

        Where the registry opened an upload instead, that is the one that :meth:`send` uses.
        """
        for repository in repositories:
            url = self._url(f"blobs/uploads/?mount={self._blob.digest}&from={quote(repository, safe='')}")
            access = replace(self._access, scopes=self._access.scopes | {f"repository:{repository}:pull"})
            try:
                answer = self._transport.send(Request("POST", url, access, frozenset({201, 202})))
            except StatusError:
                # Not there, not allowed, not supported: the bytes can still be sent.
                continue
            if answer.status == 201 and self._confirmed(answer):
                self._cancel()
                self._blob.tell(self._blob.size)
                return True
            if answer.status == 202:
                self._cancel()
                self._session = self._opened(answer)
        return False

    def send(self) -> None:
        """Send what the registry lacks; returns when it has confirmed the blob."""
        failures = furthest = 0
        while True:
            try:
                self._attempt()
                break
            except Transient as failure:
                reached = self._session.offset if self._session is not None else 0
                failures = 1 if reached > furthest else failures + 1
                furthest = max(furthest, reached)
                self._transport.patience.pause(failures, failure)
                if self._finishing and self.exists():
                    break
                self._resume()
        self._blob.tell(self._blob.size)

    # -- steps -----------------------------------------------------------------------------------------

    def _attempt(self) -> None:
        while True:
            if self._session is None:
                url = self._url("blobs/uploads/")
                answer = self._transport.send(Request("POST", url, self._access, frozenset({202})))
                self._session = self._opened(answer)
            session = self._session
            if self.whole or (session.offset == 0 and self._blob.size <= self._chunk):
                return self._finish(session, 0, self._blob.size)
            if session.offset == self._blob.size:
                return self._finish(session, self._blob.size, self._blob.size)
            self._session = self._patch(session)

    def _patch(self, session: Session) -> Session | None:
        start = session.offset
        end = min(self._blob.size, start + max(self._chunk, session.least))
        headers = {"Content-Range": f"{start}-{end - 1}"}
        answer = self._transport.once(
            self._carrying("PATCH", session.location, start, end, headers, _TAKEN | _REFUSALS)
        )
        if answer.status not in _TAKEN:
            self._refusals += 1
            error = refused(answer, self._transport.secrets)
            if answer.status in (404, 416) and self._refusals == 1 and start:
                # The session may have ended, or be elsewhere than we think: it is asked.
                raise Transient(error)
            self._cancel()
            self.whole = True
            return None
        self._refusals = 0
        known = _end(answer)
        offset = end if known is None else known
        if not start < offset <= end:
            raise Transient(
                RegistryError(f"PATCH {redact_url(answer.url)}: expected to be at {end} bytes, found {offset}")
            )
        return Session(self._location(answer, session.location), offset, session.least)

    def _finish(self, session: Session, start: int, end: int) -> None:
        """Commit the upload, with the bytes from ``start`` to ``end`` in the same request."""
        self._finishing = True
        mark = "&" if urlsplit(session.location).query else "?"
        url = f"{session.location}{mark}digest={quote(self._blob.digest, safe=':')}"
        answer = self._transport.once(self._carrying("PUT", url, start, end, {}, _CREATED | {404, 416}))
        if answer.status in _CREATED and self._confirmed(answer):
            return
        if answer.status in _CREATED:
            self._session = None
            words = f"PUT {redact_url(answer.url)}: {answer.status}, but the blob is not there"
            raise Transient(RegistryError(words, hint="the registry lost it: try again, or ask who runs it"))
        raise Transient(refused(answer, self._transport.secrets))

    def _resume(self) -> None:
        """After a failure: how far the registry got, or a new session where it cannot tell."""
        session, self._session = self._session, None
        if session is None:
            return None
        if self.whole:
            return self._cancel(session)
        expected = frozenset({200, 204}) | _ENDED
        answer = self._transport.send(Request("GET", session.location, self._access, expected))
        offset = _end(answer) or 0
        # At the very beginning a new one is as good, and certain: `0-0` may be said of one byte.
        if answer.status in _ENDED or not 0 < offset <= self._blob.sent:
            return self._cancel(session)
        self._session = Session(self._location(answer, session.location), offset, session.least)
        return None

    def _cancel(self, session: Session | None = None) -> None:
        """Let the registry forget a session; it would by itself, later."""
        session = session or self._session
        self._session = None
        if session is not None:
            with contextlib.suppress(Transient, RegistryError):
                self._transport.once(Request("DELETE", session.location, self._access, frozenset({200, 202, 204})))

    # -- details ---------------------------------------------------------------------------------------

    def _carrying(
        self, method: str, url: str, start: int, end: int, headers: dict[str, str], expected: frozenset[int]
    ) -> Request:
        headers = {**headers, "Content-Type": "application/octet-stream", "Content-Length": str(end - start)}
        body: bytes | Callable[[], object] = partial(self._blob.pieces, start, end)
        if start == end:
            for _ in self._blob.pieces(start, end):
                raise AssertionError("unreachable")
            body = b""
        return Request(method, url, self._access, expected, headers, body)  # type: ignore[arg-type]

    def _opened(self, answer: Answer) -> Session:
        least = answer.headers.get("oci-chunk-min-length", "")
        session = Session(self._location(answer, None), 0, int(least) if is_number(least) else 0)
        if session.least > _MOST:
            self.whole = True
        return session

    def _location(self, answer: Answer, before: str | None) -> str:
        found = answer.headers.get("location")
        if not found:
            if before is None:
                raise RegistryError(f"{answer.method} {redact_url(answer.url)}: expected a Location, found none")
            return before
        try:
            url = str(urljoin(answer.url, found))
            scheme = urlsplit(url).scheme
        except ValueError as e:
            raise RegistryError(f"{answer.method} {redact_url(answer.url)}: Location is no address: {e}") from None
        words = f"{answer.method} {redact_url(answer.url)}: Location {redact_url(url)}"
        self._transport.check_step(words, urlsplit(answer.url).scheme, scheme)
        return url

    def _confirmed(self, answer: Answer) -> bool:
        """Whether the registry has the blob under the digest that was asked for."""
        if urlsplit(answer.url)[:2] != urlsplit(self._url(""))[:2]:
            # The upload went to another host: what that says is not the registry's word.
            return self.exists()
        digest = answer.headers.get("docker-content-digest")
        if digest is not None and digest.partition(":")[0] == self._blob.digest.partition(":")[0]:
            if digest != self._blob.digest:
                words = f"{answer.method} {redact_url(answer.url)}: expected {self._blob.digest}, found {digest}"
                raise RegistryError(
                    words,
                    hint="the registry stored other bytes than were sent: push again, else ask who runs it",
                )
            return True
        return answer.headers.get("location", "").endswith(f"/blobs/{self._blob.digest}") or self.exists()

    def _url(self, path: str) -> str:
        return self._transport.url(self._access.host, f"/v2/{self._access.repository}/{path}")


def _end(answer: Answer) -> int | None:
    """The first byte that the registry has not; ``0-0`` is said of nothing, and of one byte."""
    found = re.fullmatch(r"(?:bytes=)?0-([0-9]{1,18})", answer.headers.get("range", ""))
    return None if found is None else int(found[1]) + 1 if int(found[1]) else 0
