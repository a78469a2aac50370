"""Whether registries have documents under the digests that they had: the question alone, without the client.

An HTTP client with proxies, redirects and patience takes longer to load than a dozen such questions take. This one asks
by HEAD, is let in as the client is, and says :class:`Unsure` to all else: then the client has to be asked. Never sends
credentials but to the registry itself and its token server, and plain HTTP to loopback only.
"""

from __future__ import annotations

import http.client
import os
import ssl
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode, urlsplit

from ..kernel import tracing
from ..kernel.errors import RegistryError
from .auth import Authorizer, scope
from .certificates import common_context, context_for, folders
from .credentials import Keychain
from .messages import Access, Answer
from .reference import Reference
from .secrets import Secrets
from .values import MANIFEST_TYPES

__all__ = ["Glance", "Unsure"]

_TIMEOUT = 20.0
_AT_ONCE = 6
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ALIASES = {"docker.io": "registry-1.docker.io"}
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_PIECE, _MOST = 1 << 16, 1 << 20
# It is not there, nobody is let in, or whoever should know is not well: nothing that another client would change.
_NO = frozenset({401, 403, 404, 429})


class Unsure(Exception):
    """The answer is none that says whether it is there."""


class _Headers:
    """What the rest expects of headers."""

    def __init__(self, message: http.client.HTTPMessage) -> None:
        self._message = message

    def get(self, key: str, default: Any = None, /) -> Any:
        return self._message.get(key, default)

    def get_list(self, key: str, /) -> list[str]:
        return [str(value) for value in self._message.get_all(key, [])]

    def __getitem__(self, key: str, /) -> str:
        return str(self._message[key])


class Glance:
    """Safe to use from several threads, each of which has connections of its own; ``close`` ends them all."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._places = folders(environ)
        self._proxied = any(environ.get(name) or environ.get(name.upper()) for name in _PROXIES)
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._own = threading.local()
        self._open: list[http.client.HTTPConnection] = []
        self._guard = threading.Lock()
        self._authorizer = Authorizer(Keychain(environ, None, None), Secrets(), self._ask, _is_loopback)

    def close(self) -> None:
        with self._guard:
            while self._open:
                self._open.pop().close()

    def same(self, ref: Reference, digest: str) -> bool:
        """Whether ``ref`` is said to name what has ``digest``. Raises :class:`Unsure`."""
        access = Access(ref.host, ref.repository, frozenset({scope(ref.repository, "pull")}))
        url = (
            f"{self._scheme(ref.host)}://{_ALIASES.get(ref.host, ref.host)}/v2/{ref.repository}/manifests/{ref.target}"
        )
        try:
            for _ in range(3):
                sent = self._authorizer.header(access)
                headers = {"Accept": ", ".join(MANIFEST_TYPES)} | ({"Authorization": sent} if sent else {})
                answer = self._request("HEAD", url, headers, b"")
                if answer.status != 401 or not self._authorizer.challenged(access, answer, sent):
                    break
        except _No:
            return False
        except (RegistryError, OSError, ValueError, http.client.HTTPException) as e:
            raise Unsure(str(e)) from None
        found = answer.headers.get("docker-content-digest")
        if _says_no(answer):
            return False
        if answer.status != 200 or found is None:
            raise Unsure(f"{answer.status} {answer.reason}")
        return bool(found == digest)

    def all_same(self, documents: Collection[tuple[Reference, str]]) -> bool:
        """:meth:`same` of all of them, some at a time. Raises :class:`Unsure` where that is all that can be said."""
        left, answers = list(documents), list[bool | Unsure]()

        def ask() -> None:
            # Not by a pool of `concurrent.futures`, which takes as long to import as the questions take.
            while left and False not in answers:
                with suppress(IndexError):
                    try:
                        answers.append(self.same(*left.pop()))
                    except Unsure as e:
                        answers.append(e)

        threads = [threading.Thread(target=ask) for _ in range(min(_AT_ONCE, len(left)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if False in answers:
            return False
        for answer in answers:
            if isinstance(answer, Unsure):
                raise answer
        return len(answers) == len(documents)

    def _scheme(self, host: str) -> str:
        """Loopback has no TLS, unless it has authorities of its own; as the client begins, too."""
        return "http" if _is_loopback(host) and not any((p / host).is_dir() for p in self._places) else "https"

    def _request(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        parts = urlsplit(url)
        if self._proxied and not _is_loopback(parts.netloc):
            raise Unsure("there is a proxy")
        tracing.tell("http", f"{method} {tracing.shown_url(url)}")
        connection = self._connection(parts.scheme, parts.netloc)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        more = {"User-Agent": "flyte-build", "Accept-Encoding": "identity", **headers}
        connection.request(method, path, body or None, more)
        response = connection.getresponse()
        data = b""
        while piece := response.read(_PIECE):
            data += piece
            if len(data) > _MOST:
                raise Unsure("a long answer")
        return Answer(method, url, response.status, response.reason, _Headers(response.msg), data)

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        """This thread's."""
        mine: dict[str, http.client.HTTPConnection] = self._own.__dict__.setdefault("connections", {})
        key = f"{scheme}://{netloc}"
        if key not in mine:
            if scheme == "http":
                made = http.client.HTTPConnection(netloc, timeout=_TIMEOUT)
            else:
                made = http.client.HTTPSConnection(netloc, timeout=_TIMEOUT, context=self._context(netloc))
            mine[key] = made
            with self._guard:
                self._open.append(made)
        return mine[key]

    def _context(self, netloc: str) -> ssl.SSLContext:
        with self._guard:
            if netloc not in self._contexts:
                own = context_for(netloc, self._environ, self._places)
                if own is None:
                    own = self._contexts.get("") or common_context(self._environ)
                    self._contexts[""] = own
                self._contexts[netloc] = own
            return self._contexts[netloc]

    def _ask(self, method: str, url: str, headers: Mapping[str, str], params: Any, form: Any) -> Answer:
        asked = f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(params)}" if params else url
        kind = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
        answer = self._request(method, asked, {**headers, **kind}, urlencode(form).encode() if form else b"")
        if _says_no(answer):
            raise _No
        if answer.status != 200:
            raise Unsure(f"{answer.status} of a token server")
        return answer


class _No(Exception):
    """A token server lets nobody in."""


def _says_no(answer: Answer) -> bool:
    return answer.status in _NO or answer.status >= 500


def _is_loopback(netloc: str) -> bool:
    return (urlsplit(f"//{netloc}").hostname or "") in _LOOPBACK
