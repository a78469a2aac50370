"""Cut-off dates: which state of the archive is locked from."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from flyte_build.kernel.errors import FetchError, InputError
from flyte_build.kernel.reporting import Recorder
from flyte_build.sources.apt_sources import HostApt
from flyte_build.sources.mirrors import SNAPSHOT_MIRROR, configured
from tests.support.archive import NOW, Deb, Server, Signer, publish
from tests.support.debian import MAIN, lock, places, versions

pytestmark = pytest.mark.integration  # gpg signs, gpgv verifies


@pytest.fixture
def history(server: Server, signer: Signer, tmp_path: Path) -> Server:
    """A snapshot archive with one state: ten days before NOW, without the security update."""
    past, at = tmp_path / "past", NOW - timedelta(days=10)
    publish(past / "debian", signer, "bookworm", MAIN, date=NOW - timedelta(days=30), valid=None)
    publish(past / "debian", signer, "bookworm-updates", [], date=at)
    publish(past / "debian-security", signer, "bookworm-security", [], archive="debian-security", date=at)
    server.snapshots["20260304T130000Z"] = past
    return server


def test_a_cutoff_after_the_last_push_is_the_living_state(history: Server, signer: Signer, tmp_path: Path) -> None:
    found = lock(history, signer, tmp_path, ["git"], cutoff="2026-03-14", mirrors=places(history, snapshots=True))
    assert (found.snapshot, versions(found)["libcurl"]) == ("20260314T060000Z", "7.88+deb12u1")
    assert not any(r.startswith("/snapshot") for r in history.requests)


@pytest.mark.parametrize(
    ("cutoff", "snapshot"), [("2026-03-05", "20260305T235959Z"), ("2026-03-05T10:00:00+02:00", "20260305T080000Z")]
)
def test_an_earlier_cutoff_is_the_snapshot_archives_state(
    history: Server, signer: Signer, tmp_path: Path, cutoff: str, snapshot: str
) -> None:
    reporter = Recorder()
    found = lock(
        history, signer, tmp_path, ["git"], cutoff=cutoff, mirrors=places(history, snapshots=True), reporter=reporter
    )
    assert (found.snapshot, versions(found)["libcurl"], versions(found)["tzdata"]) == (snapshot, "7.88", "1.0")
    assert reporter.warnings == []


def test_a_snapshot_without_updates(history: Server, signer: Signer, tmp_path: Path) -> None:
    shutil.rmtree(history.snapshots["20260304T130000Z"] / "debian/dists/bookworm-updates")
    found = lock(history, signer, tmp_path, cutoff="2026-03-05", mirrors=places(history, snapshots=True))
    assert found.notes == ("Debian of 2026-03-04 12:00 UTC: bookworm, bookworm-security",)


def test_without_a_snapshot_archive_a_cutoff_is_a_warning_that_names_the_state(
    server: Server, signer: Signer, tmp_path: Path
) -> None:
    reporter = Recorder()
    found = lock(server, signer, tmp_path, ["git"], cutoff="2026-03-05", reporter=reporter)
    assert versions(found)["libcurl"] == "7.88+deb12u1"
    assert len(reporter.warnings) == 1
    assert (
        "its state of 2026-03-05 23:59 UTC cannot be had, that of 2026-03-14 06:00 UTC is used" in reporter.warnings[0]
    )
    assert "FLYTE_BUILD_DEBIAN_SNAPSHOT is off" in reporter.warnings[0]


def test_the_state_of_a_lock_is_found_again_though_it_was_copied_later(
    history: Server, signer: Signer, tmp_path: Path
) -> None:
    before = lock(history, signer, tmp_path, ["git"])
    copied = tmp_path / "copied"
    for name in ("debian", "debian-security"):
        shutil.copytree(history.root / name, copied / name)
    history.snapshots["20260314T080000Z"] = copied
    newer = {"archive": "debian-security", "date": NOW - timedelta(hours=1)}
    publish(history.root / "debian-security", signer, "bookworm-security", [Deb("libcurl", "9")], **newer)
    too_late = tmp_path / "too-late"
    for name in ("debian", "debian-security"):
        shutil.copytree(history.root / name, too_late / name)
    history.snapshots["20260314T113000Z"] = too_late
    assert versions(lock(history, signer, tmp_path, ["git"]))["libcurl"] == "9"
    again = lock(
        history, signer, tmp_path, ["git"], cutoff="2026-03-14T06:00:00Z", mirrors=places(history, snapshots=True)
    )
    assert (again.snapshot, again.debs) == (before.snapshot, before.debs)


def test_no_mirror_but_the_snapshot_archive(history: Server, signer: Signer, tmp_path: Path) -> None:
    found = lock(
        history,
        signer,
        tmp_path,
        cutoff="2026-03-06",
        mirrors=configured({SNAPSHOT_MIRROR: f"{history.url}/snapshot"}, HostApt()),
    )
    assert found.snapshot == "20260306T235959Z"
    with pytest.raises(
        FetchError, match=r"no mirror is configured, and the snapshot archive cannot be used: .*expired"
    ):
        lock(history, signer, tmp_path, mirrors=configured({SNAPSHOT_MIRROR: f"{history.url}/snapshot"}, HostApt()))


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-03-05T10:00:00", "20260305"])
def test_what_is_no_cutoff(server: Server, signer: Signer, tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="cut-off date: expected YYYY-MM-DD, an instant"):
        lock(server, signer, tmp_path, cutoff=text)
