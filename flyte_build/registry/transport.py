"""Requests to registries: let in by whom they ask for, redirected with care, tried again where that can help.

Never done: credentials sent to a host other than the registry's own; a step from https to http; plain HTTP with a
host that is neither loopback nor named for it; a body read without a limit.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from ..kernel import tracing
from ..kernel.errors import RegistryError
from ..kernel.importing import httpx_alone
from .auth import Authorizer
from .certificates import common_context, context_for, folders, nobody, speaks_tls
from .credentials import Keychain
from .failures import Transient, lost, refused
from .messages import Answer, Body, Request
from .retrying import Patience, retry_after
from .secrets import Secrets, redact_url

with httpx_alone():
    import httpx

__all__ = ["Transport", "is_loopback"]

_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 5
_GREETINGS = 5
_ERROR_BODY = 64 << 10
_ALIASES = {"docker.io": "registry-1.docker.io"}
_LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")


def is_loopback(netloc: str) -> bool:
    """Whether ``netloc`` (``host[:port]``) is this machine."""
    host = urlsplit(f"//{netloc}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class Transport:
    """Sends requests; safe to use from several threads. ``connections`` bounds those that are open at once."""

    def __init__(
        self,
        *,
        insecure: Collection[str] = (),
        connections: int = 8,
        environ: Mapping[str, str] = os.environ,
        docker_config: Path | None = None,
        home: str | None = None,
        patience: Patience | None = None,
        timeout: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        certificates: Sequence[Path] | None = None,
    ) -> None:
        self.patience = patience or Patience()
        self._insecure = frozenset(insecure)
        self._connections = connections
        self._environ = environ
        self._timeout = timeout
        self._places = folders(environ) if certificates is None else tuple(certificates)
        self._clients: dict[str, httpx.Client] = {}
        self._greeted: dict[str, int] = {}
        self._schemes: dict[str, str] = {}
        self._guard = threading.Lock()
        self.secrets = Secrets()
        self._authorizer = Authorizer(
            Keychain(environ, docker_config, home), self.secrets, self._ask_token, self._may_be_plain, clock
        )

    def close(self) -> None:
        with self._guard:
            for client in set(self._clients.values()):
                client.close()
            self._clients.clear()

    def url(self, host: str, path: str) -> str:
        """The URL of ``path`` (``/v2/…``) at the registry ``host``."""
        return f"{self._scheme(host)}://{_ALIASES.get(host, host)}{path}"

    def send(self, request: Request) -> Answer:
        """The answer, whose status is one of those expected; raises :class:`RegistryError` otherwise."""
        return self.patience.insist(lambda: self.once(request))

    def once(self, request: Request) -> Answer:
        """As :meth:`send`, in one attempt: raises :class:`Transient` where another may help."""
        with self.stream(request) as (answer, pieces):
            if request.method == "HEAD":
                return answer
            return replace(answer, body=_joined(request, pieces, request.limit))

    @contextmanager
    def stream(self, request: Request) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """One attempt; the answer's body is the caller's to read, as it travels.

        A body that breaks off is transient.
        """
        response = self._exchange(request)
        try:
            yield _answer(response), self._pieces(response)
        finally:
            response.close()

    # -- one exchange ----------------------------------------------------------------------------------

    def _exchange(self, request: Request) -> httpx.Response:
        """An open response with an expected status: challenges are met, redirects followed."""
        url, redirects, refusals = request.url, 0, 0
        if url.startswith("http://") and self._schemes.get(urlsplit(url).netloc) == "https":
            url = "https" + url.removeprefix("http")
        while True:
            own = _origin(url) == _origin(self.url(request.access.host, ""))
            sent = self._authorizer.header(request.access) if own else None
            headers = {"Accept-Encoding": "identity", **request.headers}
            if sent is not None:
                headers["Authorization"] = sent
            response = self._open(request.method, url, headers, request.body)
            url = str(response.request.url)
            if response.status_code in request.expected:
                return response
            try:
                if response.status_code in _REDIRECTS and "location" in response.headers:
                    redirects += 1
                    url = self._redirected(request.method, url, response, redirects)
                    continue
                answer = self._read(response)
            finally:
                response.close()
            if own and answer.status == 400 and url.startswith("http://"):
                tls = self._is_tls_after_all(urlsplit(url))
                if tls:
                    url = "https" + url.removeprefix("http")
                    continue
                if tls is None:
                    raise Transient(refused(answer, self.secrets))
            if own and answer.status == 401 and refusals < 2:
                refusals += 1
                if self._authorizer.challenged(request.access, answer, sent):
                    continue
                raise refused(answer, self.secrets, self._authorizer.hint(request.access, sent))
            raise self._judged(answer)

    def _open(self, method: str, url: str, headers: Mapping[str, str], body: Body) -> httpx.Response:
        content: Any = body if isinstance(body, bytes) else iter(body())
        try:
            client = self._client(urlsplit(url))
            sent = client.build_request(method, url, headers=headers, content=content)
            return client.send(sent, stream=True)
        except httpx.HTTPError as e:
            parts = urlsplit(url)
            if isinstance(e, httpx.NetworkError | httpx.RemoteProtocolError) and self._is_tls_after_all(parts):
                return self._open(method, "https" + url.removeprefix("http"), headers, body)
            raise lost(method, url, e, self.secrets) from None
        except (httpx.InvalidURL, ValueError) as e:
            raise RegistryError(f"{method} {redact_url(url)}: {e}") from None

    def _judged(self, answer: Answer) -> Exception:
        error = refused(answer, self.secrets)
        return Transient(error, retry_after(answer.headers)) if answer.status in _RETRIED else error

    def _redirected(self, method: str, url: str, response: httpx.Response, count: int) -> str:
        try:
            target = urljoin(url, response.headers["location"])
            before, after = urlsplit(url), urlsplit(target)
        except ValueError as e:
            raise RegistryError(f"{method} {redact_url(url)}: {response.status_code} to no address: {e}") from None
        words = f"{method} {redact_url(url)}: {response.status_code} to {redact_url(target)}"
        if method not in ("GET", "HEAD") and response.status_code not in (307, 308):
            raise RegistryError(
                f"{words}: a {method} is not redirected like that", hint="is the registry's name right?"
            )
        if count > _MOST_REDIRECTS:
            raise RegistryError(
                f"{words}: more than {_MOST_REDIRECTS} redirects",
                hint="tell whoever runs the registry: its redirects go round",
            )
        self.check_step(words, before.scheme, after.scheme)
        return target

    @staticmethod
    def check_step(words: str, before: str, after: str) -> None:
        """Refuse a step from https to http, or to what is neither."""
        if after == "https" or (after == "http" and before == "http"):
            return
        raise RegistryError(
            f"{words}: refused, since it leaves https",
            hint="the registry, behind a proxy, does not know its own address: set its external URL (docker-registry: "
            "http.host) or have the proxy send X-Forwarded-Proto",
        )

    def _pieces(self, response: httpx.Response) -> Iterator[bytes]:
        request = response.request
        if response.headers.get("content-encoding", "identity") not in ("identity", ""):
            coding = response.headers["content-encoding"]
            raise RegistryError(
                f"{request.method} {redact_url(str(request.url))}: an encoding nobody asked for: {coding}"
            )
        try:
            yield from response.iter_raw()
        except httpx.HTTPError as e:
            raise lost(request.method, str(request.url), e, self.secrets) from None

    def _read(self, response: httpx.Response) -> Answer:
        """The answer with as much of its body as tells why; what breaks off is enough."""
        body = b""
        try:
            for piece in self._pieces(response):
                body += piece
                if len(body) >= _ERROR_BODY:
                    break
        except (Transient, RegistryError):
            pass
        return replace(_answer(response), body=body[:_ERROR_BODY])

    def _ask_token(self, method: str, url: str, headers: Mapping[str, str], params: Any, form: Any) -> Answer:
        def attempt() -> Answer:
            target = httpx.URL(url).copy_merge_params(params) if params else httpx.URL(url)
            body = httpx.Request(method, url, data=form) if form else None
            more = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
            response = self._open(method, str(target), {**headers, **more}, body.read() if body else b"")
            try:
                answer = self._read(response)
            finally:
                response.close()
            if answer.status != 200:
                raise self._judged(answer)
            return answer

        return self.patience.insist(attempt)

    # -- hosts -----------------------------------------------------------------------------------------

    def _may_be_plain(self, netloc: str) -> bool:
        return netloc in self._insecure or netloc.rpartition(":")[0] in self._insecure or is_loopback(netloc)

    def _scheme(self, host: str) -> str:
        if not self._may_be_plain(host):
            return "https"
        known = self._schemes.get(host)
        if known is None:
            own = any((place / host).is_dir() for place in self._places)
            known = self._schemes[host] = "https" if own else "http"
        return known

    def _is_tls_after_all(self, url: SplitResult) -> bool | None:
        """Whether a host that hung up on plain HTTP, or did not understand it, speaks TLS; ``None``: not known yet.

        It is asked by a handshake, which carries nothing, and again only where that was lost on the way.
        """
        asked = self._greeted.get(url.netloc, 0)
        if url.scheme != "http" or asked >= _GREETINGS or not self._may_be_plain(url.netloc):
            return False
        found = speaks_tls(url.hostname or "", url.port or 80)
        self._greeted[url.netloc] = asked + 1 if found is None else _GREETINGS
        if found:
            self._schemes[url.netloc] = "https"
        return found

    def _client(self, url: SplitResult) -> httpx.Client:
        """Hosts that have authorities of their own have connections of their own; so has plain HTTP."""
        key = "" if url.scheme == "http" else url.netloc
        with self._guard:
            found = self._clients.get(key)
            if found is None:
                context = context_for(url.netloc, self._environ, self._places) if key else nobody()
                if context is not None:
                    found = self._new_client(context)
                else:
                    found = self._clients.get("*") or self._new_client(common_context(self._environ))
                    self._clients["*"] = found
                self._clients[key] = found
            return found

    def _new_client(self, context: ssl.SSLContext) -> httpx.Client:
        client = httpx.Client(
            verify=context,
            mounts=dict.fromkeys(_LOOPBACK),
            follow_redirects=False,
            timeout=httpx.Timeout(self._timeout, connect=min(self._timeout, 20.0), pool=None),
            limits=httpx.Limits(max_connections=self._connections, max_keepalive_connections=self._connections),
            headers={"User-Agent": "flyte-build"},
            event_hooks=tracing.hooks(),
        )
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        return client


def _joined(request: Request, pieces: Iterator[bytes], limit: int) -> bytes:
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > limit:
            raise RegistryError(f"{request.method} {redact_url(request.url)}: the answer is longer than {limit} bytes")
    return bytes(body)


def _answer(response: httpx.Response) -> Answer:
    request = response.request
    return Answer(request.method, str(request.url), response.status_code, response.reason_phrase, response.headers)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
