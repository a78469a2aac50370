"""Requests on their way: redirects, retries, time limits, bounded connections."""

from __future__ import annotations

import email.utils
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from flyte_build.kernel.errors import RegistryError
from flyte_build.registry import Reference, Registry, StatusError
from flyte_build.registry.failures import Transient
from flyte_build.registry.retrying import Patience, retry_after
from tests.support.certificates import make_certificates

from .conftest import Pair, blob

Make = Callable[..., Pair]

# -- redirects -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_blobs_may_be_elsewhere(status: int, pair: Make) -> None:
    it = pair()
    digest = it.server.put_blob("team/image", b"data")
    it.server.put_blob("elsewhere", b"data")
    it.server.fail("GET", "blob", status=status, headers={"Location": f"/v2/elsewhere/blobs/{digest}?sig=x"})
    assert it.client.read_blob(it.ref, digest) == b"data"


def test_cookies_are_not_kept(pair: Make) -> None:
    it = pair()
    it.server.fail("GET", "tags", status=200, body=b"{}", headers={"Set-Cookie": "who=me; Path=/"})
    it.client.tags(it.ref)
    it.client.tags(it.ref)
    assert "cookie" not in it.server.requests[-1].headers


def test_a_circle_of_redirects_ends(pair: Make) -> None:
    it = pair()
    digest = it.server.put_blob("team/image", b"data")
    it.server.redirect = f"{it.server.url}/v2/team/image/blobs/"
    with pytest.raises(RegistryError, match="more than 5 redirects"):
        it.client.read_blob(it.ref, digest)
    assert it.server.count("GET", "blob") == 6


def test_no_step_from_https_to_http(pair: Make, tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    it = pair({"environ": {"SSL_CERT_FILE": str(files.authority)}}, tls=(files.certificate, files.key))
    digest = it.server.put_blob("team/image", b"data")
    it.server.redirect = "http://storage.example/bucket/secret?X-Amz-Signature=abcdef&n=5"
    with pytest.raises(RegistryError, match="leaves https") as e:
        it.client.read_blob(it.ref, digest)
    assert "abcdef" not in e.value.message
    place = {"Location": f"http://{it.server.host}/v2/team/image/blobs/uploads/1?_state=abcdef"}
    it.server.fail("POST", "upload", status=202, headers=place)
    with pytest.raises(RegistryError, match="leaves https") as e:
        it.push(b"x")
    assert "abcdef" not in e.value.message
    assert "X-Forwarded-Proto" in str(e.value.hint)


@pytest.mark.parametrize("target", ["ftp://x.example/", "file:///etc/passwd"])
def test_a_redirect_to_something_else(target: str, pair: Make) -> None:
    it = pair()
    it.server.redirect = target
    with pytest.raises(RegistryError, match="refused"):
        it.client.read_blob(it.ref, it.server.put_blob("team/image", b"data"))


def test_a_push_is_not_redirected_into_a_get(pair: Make) -> None:
    it = pair()
    it.server.fail("POST", "upload", status=302, headers={"Location": "/login"})
    with pytest.raises(RegistryError, match="a POST is not redirected like that"):
        it.push(b"x")


# -- trying again --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int, pair: Make) -> None:
    it = pair()
    it.server.fail("GET", "tags", status=status, times=3)
    assert it.client.tags(it.ref) == []
    assert it.waits == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("status", [400, 403, 405, 409, 413, 418, 501])
def test_what_will_not_pass_is_not(status: int, pair: Make) -> None:
    it = pair()
    it.server.fail("GET", "tags", status=status, times=9)
    with pytest.raises(StatusError, match=f": {status}"):
        it.client.tags(it.ref)
    assert it.server.count() == 1


def test_patience_ends(pair: Make) -> None:
    it = pair()
    said = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}).encode()
    it.server.fail("GET", "tags", status=429, body=said, times=9)
    with pytest.raises(
        RegistryError, match=r": 429 Too Many Requests: TOOMANYREQUESTS: slow down \(4 attempts\)$"
    ) as e:
        it.client.tags(it.ref)
    assert "limits requests" in str(e.value.hint)
    assert it.server.count() == 4


def test_what_the_registry_asks_for_is_waited(pair: Make) -> None:
    it = pair()
    it.server.fail("GET", "tags", status=429, headers={"Retry-After": "11"})
    it.client.tags(it.ref)
    assert it.waits == [11.0]
    it.server.fail("GET", "tags", status=503, headers={"Retry-After": "86400"})
    with pytest.raises(RegistryError, match="asks to wait 86400 s"):
        it.client.tags(it.ref)
    assert it.waits == [11.0], "nobody waits for a day"


@pytest.mark.parametrize("value", ["", "soon", "-5", "1.5", "Fri, 99 Foo 2026"])
def test_a_retry_after_that_says_nothing(value: str) -> None:
    assert retry_after(httpx.Headers({"Retry-After": value})) is None


def test_a_retry_after_that_is_a_date() -> None:
    headers = httpx.Headers({"Retry-After": email.utils.formatdate(1000, usegmt=True)})
    assert retry_after(headers, lambda: 970.0) == 30
    assert retry_after(headers, lambda: 2000.0) == 0


def test_pauses_are_spread() -> None:
    waits: list[float] = []
    failure = Transient(RegistryError("x"))
    for luck in (0.0, 1.0):
        patience = Patience(9, wait=waits.append, chance=lambda luck=luck: luck)
        for n in (1, 2, 5):
            patience.pause(n, failure)
    assert waits == [0.25, 0.5, 4.0, 0.5, 1.0, 8.0]


@pytest.mark.parametrize("lost", ["before", "after", "headers", "answer"])
def test_a_lost_connection_is_tried_again(lost: str, pair: Make) -> None:
    it = pair()
    it.server.put_blob("team/image", b"x")
    it.server.fail("GET", "tags", lost=lost, at=3)
    assert it.client.tags(it.ref) == []
    assert it.server.count("GET", "tags") == 2


@pytest.mark.parametrize("lost", ["before", "after", "headers", "answer"])
def test_a_connection_that_is_always_lost(lost: str, pair: Make) -> None:
    it = pair()
    it.server.put_blob("team/image", b"x")
    it.server.fail("GET", "tags", lost=lost, at=3, times=9)
    with pytest.raises(RegistryError, match=r"^GET http://127.*/tags/list\?n=1000: .*\(4 attempts\)$"):
        it.client.tags(it.ref)


def test_a_slow_registry(pair: Make) -> None:
    it = pair({"timeout": 0.15})
    it.server.fail("GET", "tags", silent=0.5)
    assert it.client.tags(it.ref) == []
    it.server.fail("GET", "tags", silent=0.5, times=4)
    with pytest.raises(RegistryError, match="timed out waiting"):
        it.client.tags(it.ref)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    waits: list[float] = []
    with Registry(environ={}, certificates=(), attempts=3, wait=waits.append) as client:
        with pytest.raises(RegistryError, match=rf"^GET http://{host}/.*refused") as e:
            client.tags(Reference.parse(f"{host}/x"))
    assert len(waits) == 2
    assert "reach it" in str(e.value.hint)


def test_connections_are_bounded(pair: Make) -> None:
    it = pair({"connections": 2})
    digests = [it.server.put_blob("team/image", blob(1000, n)) for n in range(12)]
    at_once, most = 0, 0
    guard = threading.Lock()
    act = it.server.fault

    def watch(*about: str) -> object:
        nonlocal at_once, most
        with guard:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        with guard:
            at_once -= 1
        return act(*about)

    it.server.fault = watch  # type: ignore[assignment, method-assign]
    threads = [threading.Thread(target=it.client.read_blob, args=(it.ref, d)) for d in digests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert it.server.count("GET", "blob") == 12
    assert most == 2
