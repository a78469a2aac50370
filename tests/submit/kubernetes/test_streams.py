"""Streams of lines from a cluster's API: whole lines however they come, and how a stream fails."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import urllib3

from flyte_build.submit.kubernetes.api import ApiError, Cluster
from tests.support.apiserver import ApiServer, Bad

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PATH = "/api/v1/namespaces/team/pods"


@contextmanager
def telling(*pieces: bytes, hold: bool = False) -> Iterator[tuple[str, list[bytes]]]:
    """A server's URL, which says these ``pieces`` to each request and hangs up (``hold``: not before its end), and
    what it was asked."""
    asked: list[bytes] = []
    over = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked.append(self.request.recv(1 << 16))
            for piece in pieces:
                self.request.sendall(piece)
                over.wait(0.01)
            if hold:
                over.wait(60)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            over.set()
            server.shutdown()
            thread.join()


def cluster_of(url: str, **more: Any) -> Cluster:
    return Cluster(url, urllib3.PoolManager(), namespace="team", **more)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_lines_are_whole_however_they_come() -> None:
    pieces = (CHUNKED[:20], CHUNKED[20:] + chunk(b"a\nb"), chunk(b"c\n\nd") + b"1", b"\r\n\n\r\n0\r\n\r\n")
    with telling(*pieces) as (url, asked):
        cluster = cluster_of(f"{url}/k8s/", credentials=lambda: {"Authorization": "Bearer x"})
        assert list(cluster.lines(PATH, {"watch": "1"}, 5.0)) == [b"a", b"bc", b"", b"d"]
    head = asked[0].decode().split("\r\n")
    assert head[0] == f"GET /k8s{PATH}?watch=1 HTTP/1.1"
    host = url.removeprefix("http://")
    assert {f"Host: {host}", "Accept: application/json", "Authorization: Bearer x"} <= set(head)


def test_a_lines_beginning_at_an_end_is_none() -> None:
    with telling(CHUNKED + chunk(b"a\nb") + b"0\r\n\r\n") as (url, _):
        assert list(cluster_of(url).lines(PATH, {}, 5.0)) == [b"a"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (CHUNKED + chunk(b"a\n"), "the connection was closed"),
        (CHUNKED + chunk(b"a\n") + b"xyz\r\n", "expected a chunk's length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na\n", "the connection was closed"),
    ],
)
def test_one_that_breaks_off_says_so(said: bytes, why: str) -> None:
    with telling(said) as (url, _), pytest.raises(OSError, match=why):
        list(cluster_of(url).lines(PATH, {}, 5.0))


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", b"SSH-2.0\r\n\r\n"])
def test_one_that_cannot_begin_is_a_refusal(said: bytes) -> None:
    with telling(said) as (url, _), pytest.raises(ApiError, match="no answer") as e:
        next(cluster_of(url).lines(PATH, {}, 5.0))
    assert e.value.status == 0


def test_one_that_falls_silent_breaks_off() -> None:
    with telling(CHUNKED + chunk(b"a\n"), hold=True) as (url, _):
        lines = cluster_of(url).lines(PATH, {}, 0.2)
        assert next(lines) == b"a"
        with pytest.raises(OSError, match="timed out"):
            next(lines)


def test_nobody_there() -> None:
    with pytest.raises(ApiError, match="no answer"):
        next(cluster_of("http://127.0.0.1:9").lines(PATH, {}, 5.0))


def test_it_is_refused_as_any_other_request(api: ApiServer) -> None:
    api.bad = lambda method, kind, query: Bad(429, "TooManyRequests", "later", retry_after=3)
    with pytest.raises(ApiError, match="429 later") as e:
        next(api.cluster().lines(PATH, {"watch": "1"}, 5.0))
    assert (e.value.reason, e.value.retry_after) == ("TooManyRequests", "3")


def test_behind_a_proxy_too() -> None:
    with telling(CHUNKED + chunk(b"a\n") + b"0\r\n\r\n") as (url, asked):
        cluster = Cluster("http://cluster.invalid", urllib3.ProxyManager(url), namespace="team")
        assert list(cluster.lines(PATH, {}, 5.0)) == [b"a"]
    assert asked[0].startswith(f"GET http://cluster.invalid{PATH} ".encode())
