"""Requests on their way: TLS, plain HTTP, redirects, retries, time limits, and errors that keep secrets."""

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

from flyte_build.errors import RegistryError
from flyte_build.registry import Reference, Registry, StatusError
from flyte_build.registry.failures import Transient
from flyte_build.registry.retrying import Patience, retry_after
from flyte_build.registry.secrets import Secrets, redact_url
from flyte_build.registry.transport import is_loopback
from tests.support.certificates import make_certificates
from tests.support.registry import RegistryServer, sha256

from .conftest import Pair, blob

Make = Callable[..., Pair]

# -- TLS -----------------------------------------------------------------------------------------------


def test_an_authority_that_is_not_known(pair: Make, tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    it = pair(tls=(files.certificate, files.key))
    with pytest.raises(RegistryError, match=r"^GET https://127\.0\.0\.1:\d+/v2/team/image/manifests/v1: x509: ") as e:
        it.client.manifest(it.ref)
    assert "certs.d" in str(e.value.hint)
    assert it.server.requests == []
    assert it.waits == [], "trying again cannot help"


def test_authorities_of_the_environment(pair: Make, tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    it = pair({"environ": {"SSL_CERT_FILE": str(files.authority)}}, tls=(files.certificate, files.key))
    assert it.client.manifest(it.ref) is None
    assert it.server.requests[-1].status == 404


def test_authorities_of_a_host(tmp_path: Path) -> None:
    files = make_certificates(tmp_path / "made")
    with RegistryServer(tls=(files.certificate, files.key)) as server:
        folder = tmp_path / "certs.d" / server.host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(files.authority.read_bytes())
        (folder / "README").write_text("not a certificate")
        with Registry(environ={}, certificates=(tmp_path / "certs.d",)) as client:
            assert client.tags(Reference.parse(f"{server.host}/x")) == []
        (folder / "ca.crt").write_text("nonsense")
        with Registry(environ={}, certificates=(tmp_path / "certs.d",)) as client:
            with pytest.raises(RegistryError, match=r"ca\.crt: cannot be read as certificates"):
                client.tags(Reference.parse(f"{server.host}/x"))


@pytest.mark.parametrize(
    ("how", "said"), [({"expired": True}, "expired"), ({"host": "127.0.0.2"}, "IP address mismatch")]
)
def test_a_certificate_that_is_not_good(how: dict[str, object], said: str, pair: Make, tmp_path: Path) -> None:
    files = make_certificates(tmp_path, **how)  # type: ignore[arg-type]
    it = pair({"environ": {"SSL_CERT_FILE": str(files.authority)}}, tls=(files.certificate, files.key))
    with pytest.raises(RegistryError, match=f"x509: .*{said}"):
        it.client.tags(it.ref)


def test_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    with Registry(environ={"SSL_CERT_FILE": str(tmp_path / "none.pem")}, certificates=()) as client:
        with pytest.raises(RegistryError, match=r"none\.pem"):
            client.tags(Reference.parse("registry.example/x"))


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("127.0.0.1:5000", True),
        ("127.9.9.9", True),
        ("localhost:5000", True),
        ("[::1]:5000", True),
        ("registry.localhost", True),
        ("10.0.0.5:5000", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("registry.example", False),
    ],
)
def test_loopback(host: str, plain: bool) -> None:
    assert is_loopback(host) is plain


def test_plain_http_is_for_loopback_and_for_whom_is_named() -> None:
    with Registry(environ={}, insecure=["10.0.0.5:5000", "named.example"], certificates=()) as client:
        urls = {
            h: client.transport.url(h, "/v2/")
            for h in ("10.0.0.5:5000", "10.0.0.5:80", "named.example:81", "x.example")
        }
    assert urls == {
        "10.0.0.5:5000": "http://10.0.0.5:5000/v2/",
        "10.0.0.5:80": "https://10.0.0.5:80/v2/",
        "named.example:81": "http://named.example:81/v2/",
        "x.example": "https://x.example/v2/",
    }


def test_docker_hub_is_elsewhere() -> None:
    with Registry(environ={}, certificates=()) as client:
        url = client.url(Reference.parse("python"), "tags/list")
    assert url == "https://registry-1.docker.io/v2/library/python/tags/list"


def test_a_400_in_plain_http_is_one_if_there_is_no_tls(pair: Make) -> None:
    """Servers answer 400 to plain HTTP on their TLS port (others hang up): a handshake tells."""
    it = pair()
    it.server.fail("GET", "tags", status=400, times=9)
    with pytest.raises(StatusError, match=r"^GET http://.*: 400 "):
        it.client.tags(it.ref)


def test_proxies_of_the_environment(pair: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' registry plays the proxy: it is asked for the whole URL."""
    it = pair({"insecure": ["registry.example"]})
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", it.server.url)
    assert it.client.tags(Reference.parse("registry.example/x")) == []
    assert it.server.requests[-1].path == "http://registry.example/v2/x/tags/list?n=1000"
    assert it.client.tags(it.ref) == []
    assert it.server.requests[-1].path == "/v2/team/image/tags/list?n=1000", "loopback is asked itself"


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


# -- secrets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@registry.example/v2/a", "https://***@registry.example/v2/a"),
        (
            "https://s.example/b?X-Amz-Signature=abc&digest=sha256:00",
            "https://s.example/b?X-Amz-Signature=***&digest=sha256:00",
        ),
        ("https://s.example/b?sig", "https://s.example/b?sig=***"),
        ("https://s.example/b#token", "https://s.example/b"),
        (
            "http://h.example/v2/a/blobs/uploads/?mount=sha256:0&from=b/c",
            "http://h.example/v2/a/blobs/uploads/?mount=sha256:0&from=b/c",
        ),
    ],
)
def test_urls_are_shown_without_secrets(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_what_others_say_is_shown_without_secrets() -> None:
    secrets = Secrets()
    secrets.add("hunter22", "ab")
    text = "bad hunter22 in https://u:p@h.example/x?sig=1, Bearer eyJhbGciOi.x_y-z\x1b[31m\nab"
    assert secrets.redact(text) == "bad *** in https://***@h.example/x?sig=***, Bearer ***?[31m?ab"
    assert len(secrets.redact("x" * 10_000)) < 1000


def test_a_registry_that_repeats_the_password(pair: Make) -> None:
    it = pair(auth="basic", password="correct-horse")
    it.client.tags(it.ref)
    said = json.dumps(
        {"errors": [{"code": "DENIED", "message": "no correct-horse", "detail": "Basic dXNlcjpj"}]}
    ).encode()
    it.server.fail("GET", "tags", status=403, body=said)
    with pytest.raises(StatusError, match="403 Forbidden: DENIED") as e:
        it.client.tags(it.ref)
    assert "correct" not in e.value.message
    assert "dXNl" not in e.value.message


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (404, "NAME_UNKNOWN", "create it first"),
        (400, "MANIFEST_BLOB_UNKNOWN", "push again"),
        (403, "DENIED", "permission"),
        (405, "UNSUPPORTED", "read-only"),
        (413, "SIZE_INVALID", "client_max_body_size"),
        (507, "", "no space"),
        (501, "", "problem of its own"),
    ],
)
def test_errors_say_what_to_do(status: int, code: str, hint: str, pair: Make) -> None:
    it = pair()
    body = json.dumps({"errors": [{"code": code, "message": "words"}]}).encode()
    it.server.fail("PUT", "manifest", status=status, body=body)
    with pytest.raises(StatusError, match=rf"^PUT {it.server.url}/v2/team/image/manifests/v1: {status} ") as e:
        it.client.put_manifest(it.ref, b'{"layers": []}', "x/y")
    assert hint in str(e.value.hint)
    assert e.value.status == status
    assert code in e.value.codes
    assert "words" in e.value.message


def test_an_answer_without_end(pair: Make) -> None:
    it = pair()
    digest = it.server.put_blob("team/image", blob(5000))
    with pytest.raises(RegistryError, match="longer than 4000 bytes"):
        it.client.read_blob(it.ref, digest, limit=4000)
    assert sha256(blob(5000)) == digest
