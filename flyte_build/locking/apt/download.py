"""One GET, whole, bounded, tried again where that can help. Never decides whether the bytes are good."""

from __future__ import annotations

import threading
import time
from urllib.parse import urlsplit, urlunsplit

import httpx

from ...kernel.errors import FetchError
from ...kernel.struck import struck

__all__ = ["NotOffered", "get", "shown"]

_TRIES = 3
# What is hashed and signed is the file, not what a server makes of it on the way.
_HEADERS = {"Accept-Encoding": "identity"}
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})

_HINT = "check the network, or name another mirror in $FLYTE_BUILD_DEBIAN_MIRROR"


class NotOffered(FetchError):
    """The server answered, and does not have the file (404, 410)."""


def shown(url: str) -> str:
    """``url`` for a message: without a password in it, or what else is secret."""
    parts = urlsplit(url)
    if parts.username is None and parts.password is None:
        return struck(url)
    host = parts.netloc.rsplit("@", 1)[1]
    return struck(urlunsplit(parts._replace(netloc=f"***@{host}")))


def get(
    client: httpx.Client,
    url: str,
    *,
    limit: int,
    tries: int = _TRIES,
    pause: float = 0.5,
    stop: threading.Event | None = None,
) -> bytes:
    """The body of ``url``, at most ``limit`` bytes. Once ``stop`` is set, nobody waits for it any more.

    Raises :class:`NotOffered` for 404 and 410, :class:`FetchError` for everything else. Timeouts, broken
    connections and the statuses that ask for patience are tried ``tries`` times, ``pause`` seconds apart,
    doubling.
    """
    for attempt in range(1, tries + 1):
        _go_on(stop, url)
        try:
            with client.stream("GET", url, headers=_HEADERS) as response:
                if response.status_code in (404, 410):
                    raise NotOffered(f"GET {shown(url)}: {response.status_code} {response.reason_phrase}")
                if response.status_code in _AGAIN and attempt < tries:
                    reason = str(response.status_code)
                elif response.status_code != 200:
                    raise FetchError(f"GET {shown(url)}: {response.status_code} {response.reason_phrase}", hint=_HINT)
                else:
                    return _body(response, url, limit, stop)
        except (httpx.TransportError, httpx.TooManyRedirects, httpx.DecodingError) as e:
            reason = str(e) or type(e).__name__
            # No address or no listener does not get better by asking again at once.
            if attempt == tries or isinstance(e, httpx.ConnectError | httpx.TooManyRedirects):
                raise FetchError(f"GET {shown(url)}: {reason}", hint=_HINT) from None
        except httpx.InvalidURL as e:
            raise FetchError(f"GET {shown(url)}: {e}") from None
        time.sleep(pause * 2 ** (attempt - 1))
    raise AssertionError("unreachable")


def _go_on(stop: threading.Event | None, url: str) -> None:
    if stop is not None and stop.is_set():
        raise FetchError(f"GET {shown(url)}: called off")


def _body(response: httpx.Response, url: str, limit: int, stop: threading.Event | None) -> bytes:
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_raw(1 << 18):
        _go_on(stop, url)
        size += len(chunk)
        if size > limit:
            raise FetchError(f"GET {shown(url)}: expected at most {limit} bytes, found more")
        chunks.append(chunk)
    return b"".join(chunks)
