"""Who vouches for a registry, who may be spoken to in plain HTTP, and proxies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_build.kernel.errors import RegistryError
from flyte_build.registry import Reference, Registry, StatusError
from flyte_build.registry.transport import is_loopback
from tests.support.certificates import make_certificates
from tests.support.registry import RegistryServer

from .conftest import Pair

Make = Callable[..., Pair]


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
