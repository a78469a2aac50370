"""What a mirror can do wrong when locking, each with its message."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from flyte_build.kernel.errors import FetchError
from flyte_build.kernel.reporting import Recorder
from flyte_build.sources.apt_sources import HostApt
from flyte_build.sources.mirrors import MAIN_MIRROR, SECURITY_MIRROR, SNAPSHOT_MIRROR, configured
from tests.support.archive import NOW, Deb, Server, Signer, publish, serve
from tests.support.debian import MAIN, SECURITY, lock, places

pytestmark = pytest.mark.integration  # gpg signs, gpgv verifies


def test_a_bad_signature(server: Server, signer: Signer, tmp_path: Path) -> None:
    release = server.root / "debian/dists/bookworm/InRelease"
    release.write_bytes(release.read_bytes().replace(b"Codename: bookworm", b"Codename: bookworn"))
    with pytest.raises(FetchError, match=r"/debian/dists/bookworm/InRelease: .*BAD signature"):
        lock(server, signer, tmp_path)


def test_an_unsigned_release(server: Server, signer: Signer, tmp_path: Path) -> None:
    publish(server.root / "debian", None, "bookworm", MAIN)
    with pytest.raises(FetchError, match="not signed"):
        lock(server, signer, tmp_path)


def test_an_expired_release_and_apts_leave_to_use_it(server: Server, signer: Signer, tmp_path: Path) -> None:
    old = NOW - timedelta(days=8)
    publish(server.root / "debian-security", signer, "bookworm-security", SECURITY, archive="debian-security", date=old)
    with pytest.raises(FetchError, match=r"bookworm-security/InRelease expired on 2026-03-13 12:00 UTC"):
        lock(server, signer, tmp_path)
    reporter = Recorder()
    lax = places(server, settings={"acquire::check-valid-until": "no"})
    assert lock(server, signer, tmp_path, reporter=reporter, mirrors=lax).snapshot == "20260314T030000Z"
    assert "apt is configured here not to check that" in reporter.warnings[0]


def test_another_suites_release_with_a_good_signature(server: Server, signer: Signer, tmp_path: Path) -> None:
    publish(server.root / "debian", signer, "trixie", MAIN)
    shutil.copy(server.root / "debian/dists/trixie/InRelease", server.root / "debian/dists/bookworm/InRelease")
    with pytest.raises(FetchError, match="expected the suite bookworm, found trixie"):
        lock(server, signer, tmp_path)


def test_an_index_that_is_not_the_signed_one(server: Server, signer: Signer, tmp_path: Path) -> None:
    for file in (server.root / "debian/dists/bookworm").rglob("*"):
        if file.is_file() and file.name != "InRelease":
            file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(FetchError, match=r"expected \d+ bytes with SHA-256 [0-9a-f]{64}, found \d+ with"):
        lock(server, signer, tmp_path)


def test_by_hash_missing_is_no_trouble(server: Server, signer: Signer, tmp_path: Path) -> None:
    for folder in server.root.rglob("by-hash"):
        shutil.rmtree(folder)
    assert lock(server, signer, tmp_path).debs


def test_no_updates_is_said_and_no_security_is_an_error(server: Server, signer: Signer, tmp_path: Path) -> None:
    shutil.rmtree(server.root / "debian/dists/bookworm-updates")
    reporter = Recorder()
    found = lock(server, signer, tmp_path, reporter=reporter)
    assert reporter.notes == ["Debian bookworm-updates is not offered by the configured mirrors"]
    assert {d.name: d.version for d in found.debs}["tzdata"] == "1.0"
    shutil.rmtree(server.root / "debian-security")
    with pytest.raises(FetchError, match=r"debian-security/dists/bookworm-security/InRelease: 404"):
        lock(server, signer, tmp_path)


def test_sid_has_neither(server: Server, signer: Signer, tmp_path: Path) -> None:
    publish(server.root / "debian", signer, "sid", MAIN)
    assert lock(server, signer, tmp_path, suite="sid").snapshot == "20260314T060000Z"


def test_a_pool_that_does_not_follow_the_rule(server: Server, signer: Signer, tmp_path: Path) -> None:
    odd = Deb("odd", fields={"Filename": "pool/main/x/else/odd_1.0_amd64.deb"})
    publish(server.root / "debian", signer, "bookworm", [*MAIN, odd])
    with pytest.raises(FetchError, match=r"odd 1.0: expected the pool path pool/main/o/odd/odd_1.0_amd64.deb, found"):
        lock(server, signer, tmp_path, ["odd"])


def test_a_mirror_that_is_down_is_passed_over_with_a_word(
    server: Server, signer: Signer, tmp_path: Path, published: Path
) -> None:
    with serve(published) as gone:
        dead = gone.url
    env = {
        MAIN_MIRROR: f"{dead}/debian {server.url}/debian",
        SECURITY_MIRROR: f"{server.url}/debian-security",
        SNAPSHOT_MIRROR: "off",
    }
    reporter = Recorder()
    found = lock(server, signer, tmp_path, reporter=reporter, mirrors=configured(env, HostApt()))
    assert found.debs
    assert any("refused" in w and f"{server.url}/debian is used instead" in w for w in reporter.warnings)
    only = configured({MAIN_MIRROR: f"{dead}/debian", SNAPSHOT_MIRROR: "off"}, HostApt())
    with pytest.raises(FetchError, match=r"GET http://127.0.0.1:\d+/debian/dists/bookworm/InRelease: .*refused"):
        lock(server, signer, tmp_path, mirrors=only)


def test_a_mirror_left_behind_is_passed_over_with_a_word(server: Server, signer: Signer, tmp_path: Path) -> None:
    old = NOW - timedelta(days=8)
    stale = {"archive": "debian-security", "date": old}
    publish(server.root / "stale", signer, "bookworm-security", SECURITY, **stale)
    env = {
        MAIN_MIRROR: f"{server.url}/debian",
        SECURITY_MIRROR: f"{server.url}/stale {server.url}/debian-security",
        SNAPSHOT_MIRROR: "off",
    }
    reporter = Recorder()
    found = lock(server, signer, tmp_path, reporter=reporter, mirrors=configured(env, HostApt()))
    assert found.snapshot == "20260314T060000Z"
    assert "/stale/dists/bookworm-security/InRelease expired" in reporter.warnings[0]


def test_nothing_configured(server: Server, signer: Signer, tmp_path: Path) -> None:
    with pytest.raises(FetchError) as e:
        lock(server, signer, tmp_path, mirrors=configured({SNAPSHOT_MIRROR: "off"}, HostApt()))
    assert "no mirror of the debian archive is configured" in e.value.message
    assert f"${MAIN_MIRROR}" in str(e.value.hint)
