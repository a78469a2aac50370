"""One URL into one partial file: HTTP, resumed where it stopped.

The partial file is named by the SHA-256 that the bytes must have in the end, so it survives an interruption and goes
on from any URL that has the same artifact. Its lock (flock) makes two downloads of one artifact wait for each
other. Says what went wrong in three kinds; retrying, choosing URLs and judging the hash are the caller's.
"""

from __future__ import annotations

import email.utils
import fcntl
import hashlib
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

import httpx

from ..kernel.documents import is_number
from ..kernel.errors import FetchError
from ..kernel.struck import struck
from ..store.files import CHUNK, storing
from .places import Stream

__all__ = ["Cancelled", "Failed", "Lines", "Partial", "Transient", "download", "redact"]

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]+/([0-9]+|\*)")
_LONGEST_WAIT = 60.0
NOT_AS_LOCKED = "what is served is not what was locked: ask the owner of the index or mirror, or lock again"


class Cancelled(Exception):
    """The build was called off."""


class Failed(Exception):
    """This URL will not give the artifact, however often it is asked; ``hint`` is what a person can do about it."""

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.hint = hint


class Transient(Exception):
    """Worth another try, after ``wait`` seconds where the server said so."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def redact(url: str) -> str:
    """``url`` without what may be secret: user, password and query, and what is known to be."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"***@{host}" if "@" in parts.netloc else host
    return struck(urlunsplit((parts.scheme, netloc, parts.path, "***" if parts.query else "", "")))


class Partial:
    """An artifact on its way: what has arrived, its hash so far, and the lock that makes it ours.

    ``advance`` hears of bytes that arrive (or lie here already), and of a negative number when they are thrown away.
    """

    def __init__(self, path: Path, advance: Callable[[int], None], cancelled: Callable[[], bool]) -> None:
        self.path = path
        self.size = 0
        self._advance = advance
        self._cancelled = cancelled
        self._hash = hashlib.sha256()
        with storing(path):
            self._file = self._lock()

    def _lock(self) -> int:
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                while True:
                    if self._cancelled():
                        raise Cancelled
                    try:
                        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        time.sleep(0.05)
                # Whoever held it may have finished, and renamed the file from under us.
                if self.path.exists() and os.path.samestat(os.fstat(handle), self.path.stat()):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    def __enter__(self) -> Partial:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        os.close(self._file)

    def load(self, limit: int) -> None:
        """Take up what an earlier download left; more than ``limit`` bytes cannot be right."""
        with storing(self.path):
            if os.fstat(self._file).st_size > limit:
                self.reset()
            os.lseek(self._file, 0, os.SEEK_SET)
            while chunk := os.read(self._file, CHUNK):
                self._count(chunk)

    def write(self, chunk: bytes) -> None:
        if self._cancelled():
            raise Cancelled
        with storing(self.path, len(chunk)):
            view = memoryview(chunk)
            while view:
                view = view[os.write(self._file, view) :]
        self._count(chunk)

    def reset(self) -> None:
        """Throw away what has arrived."""
        with storing(self.path):
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
        self._advance(-self.size)
        self.size = 0
        self._hash = hashlib.sha256()

    def sha256(self) -> str:
        return self._hash.hexdigest()

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.size += len(chunk)
        self._advance(len(chunk))


class Lines:
    """The sockets in use, so that a build that is called off need not wait for a server that says nothing."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._sockets: set[socket.socket] = set()

    @contextmanager
    def open(self, response: httpx.Response) -> Iterator[None]:
        stream = response.extensions.get("network_stream")
        found = stream.get_extra_info("socket") if stream is not None else None
        if not isinstance(found, socket.socket):
            yield
            return
        with self._guard:
            self._sockets.add(found)
        try:
            yield
        finally:
            with self._guard:
                self._sockets.discard(found)

    def cut(self) -> None:
        """Make every read in progress end at once."""
        with self._guard:
            for found in self._sockets:
                with suppress(OSError):
                    # The plain socket's own, below TLS, whose state another thread is using.
                    socket.socket.shutdown(found, socket.SHUT_RDWR)


def download(stream: Stream, url: str, partial: Partial, size: int, lines: Lines) -> None:
    """Bring ``partial`` to ``size`` bytes from ``url``. Raises :class:`Failed`, :class:`Transient` or
    :class:`Cancelled`; what has arrived by then stays in ``partial``.

    Bytes that are there already are not asked for again (RFC 9110, section 14). The whole is judged by its
    SHA-256, so no validator (``If-Range``) is needed to protect it from a file that changed on the server, and a
    download may go on from another mirror.
    """
    if partial.size == size:
        return
    headers = {"accept-encoding": "identity"}
    if partial.size:
        headers["range"] = f"bytes={partial.size}-"
    try:
        with stream(url, headers) as response, lines.open(response):
            _judge(response, partial, size)
            encoded = response.headers.get("content-encoding", "identity") != "identity"
            # As they come: with a chunk size, httpx would hold back, and lose, what arrived before a line breaks.
            for chunk in response.iter_bytes() if encoded else response.iter_raw():
                partial.write(chunk)
                if partial.size > size:
                    raise Failed(f"expected {size} bytes, found more", NOT_AS_LOCKED)
    except httpx.InvalidURL as e:
        raise Failed(f"not a URL: {e}") from None
    except (httpx.UnsupportedProtocol, httpx.TooManyRedirects) as e:
        raise Failed(str(e)) from None
    except FetchError as e:
        # Said by a client that has its own tries.
        raise Failed(e.message, e.hint) from None
    except (httpx.TransportError, httpx.DecodingError) as e:
        raise Transient(str(e) or type(e).__name__) from None
    if partial.size < size:
        raise Transient(f"the answer ended after {partial.size} of {size} bytes")


def _judge(response: httpx.Response, partial: Partial, size: int) -> None:
    """Whether the body that follows belongs at the end of ``partial``."""
    code = response.status_code
    if code == 206 and partial.size:
        found = _RANGE.fullmatch(response.headers.get("content-range", ""))
        if found and int(found[1]) == partial.size and found[2] in ("*", str(size)):
            return
        partial.reset()
        raise Transient(f"asked for a range, got `{response.headers.get('content-range', 'none')}`", 0)
    if code == 416:
        partial.reset()
        raise Transient("the server has fewer bytes than had arrived", 0)
    if code == 200:
        # The server knows no ranges, or none were asked for: from the start.
        partial.reset()
        length = response.headers.get("content-length", "")
        if "content-encoding" not in response.headers and is_number(length) and int(length) != size:
            raise Failed(f"expected {size} bytes, found {length}", NOT_AS_LOCKED)
        return
    reason = f"{code} {response.reason_phrase}".strip()
    if code in _TRANSIENT:
        raise Transient(reason, _retry_after(response))
    hint = "check the credentials in pip's or uv's configuration, or in ~/.netrc" if code in (401, 403, 407) else None
    raise Failed(reason, hint)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, from either form of the header (RFC 9110, section 10.2.3), within reason."""
    value = response.headers.get("retry-after", "").strip()
    if is_number(value):
        return min(float(value), _LONGEST_WAIT)
    try:
        then = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError):
        return None
    return min(max(then.timestamp() - time.time(), 0), _LONGEST_WAIT)
