"""HTTP to package indexes: certificates, credentials, retries, and errors that name the request.

Credentials come from an address, its index's URL, uv's ``UV_INDEX_<NAME>_USERNAME``/``_PASSWORD``, or netrc, are sent
to that origin only, and never appear in a message.
"""

from __future__ import annotations

import netrc
import os
import re
import ssl
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx

from ...kernel import tracing
from ...kernel.errors import FetchError, InputError
from ...kernel.struck import struck
from .settings import Index, IndexSettings

__all__ = ["Transport", "redact", "without_userinfo"]

_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_WAIT = 30.0
LONGEST = 256 << 20
"""Bytes that an index's page may have: many times those of the largest."""
_TRANSFER = ("content-encoding", "transfer-encoding")
# In a hurry: attempts, the pause between them, and the seconds that a connection and an answer are waited for.
_ATTEMPTS, _PAUSE, _CONNECT, _ANSWER = 2, 0.25, 3.0, 5.0


def redact(text: str) -> str:
    """``text`` with the passwords and tokens of the URLs in it replaced, and what else is known to be secret."""
    return struck(re.sub(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@]+@", r"\1***@", text))


def without_userinfo(url: str) -> tuple[str, tuple[str, str] | None]:
    """``url`` and the user name and password that were in it."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url, None
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return bare, (unquote(parts.username or ""), unquote(parts.password or ""))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


class _Credentials(httpx.Auth):
    def __init__(self, known: Mapping[str, tuple[str, str]], netrc_file: str | None) -> None:
        self._known = known
        self._netrc: netrc.netrc | None = None
        try:
            path = Path(netrc_file) if netrc_file else Path("~/.netrc").expanduser()
            if path.is_file():
                self._netrc = netrc.netrc(str(path))
        except (OSError, RuntimeError, netrc.NetrcParseError):
            self._netrc = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if "Authorization" in request.headers:  # whoever asks has said who they are
            yield request
            return
        found = self._known.get(_origin(str(request.url)))
        if found is None and self._netrc is not None:
            entry = self._netrc.authenticators(request.url.host)
            found = (entry[0], entry[2] or "") if entry else None
        if found is None:
            yield request
        else:
            yield from httpx.BasicAuth(*found).auth_flow(request)


def _context(settings: IndexSettings, environ: Mapping[str, str]) -> ssl.SSLContext:
    return _made(settings.cert, environ.get("SSL_CERT_DIR"), settings.client_cert, environ.get("SSL_CERT_FILE"))


@lru_cache(maxsize=8)
def _made(cert: str | None, folder: str | None, client_cert: str | None, _default: str | None) -> ssl.SSLContext:
    """One of 25 ms of processor time for all clients that trust the same; what it trusts is read once a process."""
    try:
        context = ssl.create_default_context(cafile=cert, capath=folder)
        if not cert and not folder and not context.cert_store_stats()["x509_ca"]:
            context = httpx.create_ssl_context(trust_env=False)
        if client_cert:
            context.load_cert_chain(client_cert)
    except (OSError, ssl.SSLError) as e:
        raise InputError(
            f"the certificates configured for package indexes cannot be read: {e}",
            hint="PIP_CERT, SSL_CERT_FILE, REQUESTS_CA_BUNDLE or `cert` of pip's configuration has to name a PEM file",
        ) from None
    return context


class Transport:
    """Sends requests to indexes; safe to use from several threads.

    With ``given_up``, for what one can do without, it is in a hurry: origins that do not answer are soon put there, and
    those that are there are not asked.
    """

    def __init__(
        self,
        settings: IndexSettings,
        environ: Mapping[str, str] | None = None,
        *,
        attempts: int = 4,
        pause: float = 0.5,
        given_up: dict[str, str] | None = None,
    ) -> None:
        env = os.environ if environ is None else environ
        known: dict[str, tuple[str, str]] = {}
        for index in (*settings.indexes, *(Index(link) for link in settings.find_links)):
            bare, userinfo = without_userinfo(index.url)
            if index.name and userinfo is None:
                prefix = "UV_INDEX_" + re.sub(r"[^A-Za-z0-9]", "_", index.name).upper()
                user, password = env.get(f"{prefix}_USERNAME"), env.get(f"{prefix}_PASSWORD")
                userinfo = (user or "", password or "") if user or password else None
            if userinfo is not None:
                known.setdefault(_origin(bare), userinfo)
        context = _context(settings, env)
        insecure = {f"all://{host}": httpx.HTTPTransport(verify=False) for host in settings.insecure_hosts}
        self._client = httpx.Client(
            auth=_Credentials(known, env.get("NETRC")),
            verify=context,
            mounts=insecure,
            follow_redirects=True,
            timeout=httpx.Timeout(60.0, connect=20.0) if given_up is None else httpx.Timeout(_ANSWER, connect=_CONNECT),
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=16),
            headers={"User-Agent": "flyte-build"},
            event_hooks=tracing.hooks(),
        )
        self._attempts, self._pause = (attempts, pause) if given_up is None else (_ATTEMPTS, _PAUSE)
        self._longest_wait = _LONGEST_WAIT if given_up is None else _PAUSE
        self._given_up = given_up

    @contextmanager
    def stream(self, method: str, url: str, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        """An open response, its body unread; answers worth another try have been tried again.

        The status is the caller's to judge, but 5xx, 429 and a connection that fails end in
        :class:`FetchError` after the last attempt. A body that breaks off raises ``httpx.TransportError``.
        """
        bare, login = without_userinfo(url)
        response = self._send(method, bare, headers, login)
        try:
            yield response
        finally:
            response.close()

    def get(self, url: str, headers: Mapping[str, str] | None = None, *, method: str = "GET") -> httpx.Response:
        """The whole response, read; a body that breaks off is tried again as well."""
        bare, login = without_userinfo(url)
        for attempt in range(self._attempts):
            response = self._send(method, bare, headers, login)
            try:
                return _read(response)
            except httpx.TransportError as e:
                if attempt + 1 == self._attempts:
                    raise self._failed(method, bare, _words(e)) from None
                time.sleep(self._pause * 2**attempt)
            finally:
                response.close()
        raise AssertionError("unreachable")

    def _send(
        self, method: str, url: str, headers: Mapping[str, str] | None, login: tuple[str, str] | None
    ) -> httpx.Response:
        """``login``: what the address itself says."""
        auth = httpx.USE_CLIENT_DEFAULT if login is None else httpx.BasicAuth(*login)
        if self._given_up and (why := self._given_up.get(_origin(url))):
            raise FetchError(why)
        for attempt in range(self._attempts):
            last = attempt + 1 == self._attempts
            try:
                request = self._client.build_request(method, url, headers=headers)
                response = self._client.send(request, stream=True, auth=auth)
            except httpx.TransportError as e:
                if last:
                    raise self._failed(method, url, _words(e)) from None
                time.sleep(self._pause * 2**attempt)
                continue
            except (httpx.InvalidURL, httpx.TooManyRedirects) as e:
                raise FetchError(f"{method} {redact(url)}: {_words(e)}") from None
            if response.status_code not in _RETRIED:
                return response
            response.close()
            if last:
                raise self._failed(method, url, f"{response.status_code} {response.reason_phrase}")
            time.sleep(min(self._longest_wait, max(self._pause * 2**attempt, _retry_after(response))))
        raise AssertionError("unreachable")

    def _failed(self, method: str, url: str, words: str) -> FetchError:
        message = f"{method} {redact(url)}: {words} ({self._attempts} attempts)"
        if self._given_up is not None:
            self._given_up[_origin(url)] = message
        return FetchError(
            message, hint="the index may be down or this machine offline; try again, or configure another index"
        )

    def close(self) -> None:
        self._client.close()


def _read(response: httpx.Response) -> httpx.Response:
    """``response`` with its body, which may have been compressed, and has a bound."""
    parts, size = [], 0
    for part in response.iter_bytes():
        size += len(part)
        if size > LONGEST:
            raise FetchError(
                f"{response.request.method} {redact(str(response.url))}: expected at most {LONGEST} bytes, found more",
                hint="no index has a page like this; tell whoever runs it, or configure another",
            )
        parts.append(part)
    headers = [(k, v) for k, v in response.headers.multi_items() if k.lower() not in _TRANSFER]
    return httpx.Response(
        response.status_code,
        headers=headers,
        content=b"".join(parts),
        request=response.request,
        extensions=response.extensions,
        history=response.history,
    )


def _retry_after(response: httpx.Response) -> float:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 9 else 0.0


def _words(error: Exception) -> str:
    return redact(str(error)) or type(error).__name__
