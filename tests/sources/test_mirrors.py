"""The order in which places are asked, and the URLs of a locked package there."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from flyte_build.kernel.errors import InputError, LockError
from flyte_build.locks.lockfile import LockedDeb
from flyte_build.sources import mirrors
from flyte_build.sources.apt_sources import HostApt, Source
from flyte_build.sources.mirrors import MAIN_MIRROR, SECURITY_MIRROR, SNAPSHOT_MIRROR, configured

APT = HostApt(
    (
        Source("http://host.example/debian", "debian", "sources.list:1"),
        Source("http://host.example/debian-security", "debian-security", "sources.list:2", False),
    )
)
DEB = LockedDeb("libssl3", "3.0-1", "amd64", "libssl3_3.0-1_amd64.deb", 1, "0" * 64, "openssl", "debian", "main", True)
SECURITY = replace(DEB, archive="debian-security", component="updates/main")
STAMP = "20260228T233000Z"


def test_explicit_then_host_then_snapshot() -> None:
    found = configured({MAIN_MIRROR: "http://mine.example/debian/ https://two.example/x"}, APT)
    assert found.pool_urls(DEB, STAMP) == [
        f"{root}/pool/main/o/openssl/libssl3_3.0-1_amd64.deb"
        for root in (
            "http://mine.example/debian",
            "https://two.example/x",
            "http://host.example/debian",
            "https://snapshot.debian.org/archive/debian/20260228T233000Z",
            "https://snapshot.debian.org/archive/debian/20260301T233000Z",
        )
    ]


def test_the_security_archive_is_guessed_beside_a_main_one() -> None:
    found = configured({MAIN_MIRROR: "http://mine.example/debian"}, APT)
    assert [(m.url, m.guessed) for m in found.of("debian-security")] == [
        ("http://mine.example/debian-security", True),
        ("http://host.example/debian-security", False),
    ]
    assert found.pool_urls(SECURITY, STAMP)[0] == (
        "http://mine.example/debian-security/pool/updates/main/o/openssl/libssl3_3.0-1_amd64.deb"
    )
    assert [
        m.url for m in configured({MAIN_MIRROR: "http://mine.example/mirror"}, HostApt()).of("debian-security")
    ] == []


def test_an_explicit_security_mirror_comes_first_and_is_certain() -> None:
    env = {MAIN_MIRROR: "http://mine.example/debian", SECURITY_MIRROR: "http://mine.example/debian-security"}
    first = configured(env, APT).of("debian-security")[0]
    assert (first.url, first.guessed, first.where) == (
        "http://mine.example/debian-security",
        False,
        f"${SECURITY_MIRROR}",
    )


def test_no_place_is_asked_twice() -> None:
    urls = configured({MAIN_MIRROR: "http://host.example/debian"}, APT).pool_urls(DEB, STAMP)
    assert len(urls) == len(set(urls)) == 3


def test_another_snapshot_archive_or_none() -> None:
    named = configured({SNAPSHOT_MIRROR: "http://snap.example/archive/"}, HostApt())
    assert named.pool_urls(SECURITY, STAMP)[0].startswith(f"http://snap.example/archive/debian-security/{STAMP}/pool/")
    assert configured({SNAPSHOT_MIRROR: "off"}, HostApt()).pool_urls(DEB, STAMP) == []


def test_characters_of_versions_survive_in_urls() -> None:
    deb = replace(DEB, file="libssl3_3.0~rc1+dfsg-1%_amd64.deb")
    url = configured({MAIN_MIRROR: "http://mine.example/debian"}, HostApt()).pool_urls(deb, STAMP)[0]
    assert url.endswith("/libssl3_3.0~rc1+dfsg-1%25_amd64.deb")


@pytest.mark.parametrize("value", ["mirror.example/debian", "ftp://mirror.example/debian", "http:///debian"])
def test_a_variable_without_a_url_is_an_error(value: str) -> None:
    with pytest.raises(InputError, match=r"\$FLYTE_BUILD_DEBIAN_MIRROR: expected http or https URLs, found"):
        configured({MAIN_MIRROR: value}, APT)


def test_a_snapshot_that_is_no_instant_is_the_locks_fault() -> None:
    with pytest.raises(LockError, match="expected an instant"):
        configured({}, APT).pool_urls(DEB, "yesterday")


def test_apts_switch_and_a_sources_own_switch_reach_the_mirror() -> None:
    assert [m.check_valid_until for m in configured({}, APT).live] == [True, False]
    off = replace(APT, settings={"acquire::check-valid-until": "false"})
    assert [m.check_valid_until for m in configured({}, off).live] == [False, False]
    assert not configured({MAIN_MIRROR: "http://mine.example/x"}, off).live[0].check_valid_until


def test_apts_proxy_is_mounted_for_the_mirrors_only() -> None:
    apt = replace(APT, settings={"acquire::http::proxy::host.example": "http://proxy.example:3128"})
    found = configured({MAIN_MIRROR: "http://mine.example:8080/debian"}, apt)
    assert list(found.mounts()) == ["http://host.example"]
    assert list(replace(found, apt=replace(apt, settings={"acquire::http::proxy": "DIRECT"})).mounts()) == [
        "http://mine.example:8080",
        "http://host.example",
        "https://snapshot.debian.org",
    ]
    with found.client() as client:
        assert client.follow_redirects
        assert client.timeout == httpx.Timeout(60, connect=10)


def test_the_module_function_uses_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAIN_MIRROR, "http://env.example/debian")
    assert mirrors.pool_urls(DEB, STAMP)[0].startswith("http://env.example/debian/pool/")
