"""An image's Debian packages from a small signed archive: the base, what is asked for, what is left out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from flyte_build.kernel.errors import FetchError, InputError, ResolutionError
from flyte_build.kernel.reporting import Recorder
from flyte_build.locking.apt import Debian, index
from flyte_build.locking.apt.lock import BASE
from flyte_build.locking.apt.omissions import OMISSIONS
from flyte_build.locks.lockfile import Lock, LockedPlatform, parse
from flyte_build.recipe import DebianBase, Recipe
from tests.support.archive import NOW, Server, Signer, publish, serve
from tests.support.debian import MAIN, SECURITY, UPDATES, lock, places

pytestmark = pytest.mark.integration  # gpg signs, gpgv verifies


def test_the_base_and_what_is_asked_for_besides(server: Server, signer: Signer, tmp_path: Path) -> None:
    found = lock(server, signer, tmp_path, ["git"])
    base = {d.name for d in found.debs if d.base}
    assert base == {*BASE, "debianutils", "libc6", "libpython3.11-stdlib", "media-types", "python3.11"}
    assert [str(d.name) for d in found.debs if not d.base] == ["git", "libcurl", "perl", "perl-base"]
    assert [d.name for d in found.debs] == sorted(d.name for d in found.debs)
    by_name = {d.name: d for d in found.debs}
    assert by_name["tzdata"].version == "1.1"
    curl = by_name["libcurl"]
    assert (curl.version, curl.archive, curl.component) == ("7.88+deb12u1", "debian-security", "updates/main")
    assert curl.pool_path == "pool/updates/main/libc/libcurl/libcurl_7.88+deb12u1_amd64.deb"
    assert by_name["libc6"].pool_path == "pool/main/g/glibc/libc6_2.36_amd64.deb"
    assert by_name["git"].file == "git_2.39_amd64.deb"
    assert found.snapshot == "20260314T060000Z"
    assert found.notes == ("Debian of 2026-03-14 06:00 UTC: bookworm, bookworm-updates, bookworm-security",)


def test_what_is_left_out_is_reported(server: Server, signer: Signer, tmp_path: Path) -> None:
    omitted = {o.name: o for o in lock(server, signer, tmp_path, ["git"]).omitted}
    assert sorted(omitted) == ["dpkg", "login"]
    assert omitted["dpkg"].named_by == ("dash", "grep", "perl")
    assert omitted["dpkg"].reason == OMISSIONS["dpkg"].reason
    assert omitted["login"].named_by == ()
    named = lock(server, signer, tmp_path, ["dpkg"])
    # What is asked for may take the Essential packages for granted; nothing that was not asked for may.
    assert [d.name for d in named.debs if not d.base] == ["dpkg", "perl-base"]
    assert [o.name for o in named.omitted] == ["login"]
    assert [o.name for o in lock(server, signer, tmp_path).omitted] == ["dpkg", "login", "perl-base"]


def test_the_base_does_not_depend_on_what_else_is_asked_for(server: Server, signer: Signer, tmp_path: Path) -> None:
    plain = [d for d in lock(server, signer, tmp_path).debs if d.base]
    more = [d for d in lock(server, signer, tmp_path, ["git", "postfix", "tzdata"]).debs if d.base]
    assert plain == more


def test_the_same_state_gives_the_same_lock(
    server: Server, published: Path, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = lock(server, signer, tmp_path, ["git", "only"])
    # Another mirror, other signatures, no cache, stanzas in another order, another order of the question.
    other = tmp_path / "other"
    publish(other / "debian", signer, "bookworm", MAIN[::-1], date=NOW - timedelta(days=30), valid=None)
    publish(other / "debian", signer, "bookworm-updates", UPDATES, date=NOW - timedelta(hours=9))
    publish(other / "debian-security", signer, "bookworm-security", SECURITY, archive="debian-security")
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    index._scanned.clear()
    with serve(other) as elsewhere:
        assert lock(elsewhere, signer, tmp_path / "b", ["only", "git"]) == first


def test_no_location_gets_into_the_lock_and_the_lock_can_be_read_back(
    server: Server, signer: Signer, tmp_path: Path
) -> None:
    found = lock(server, signer, tmp_path, ["git"])
    recipe = Recipe(DebianBase("bookworm"), ("linux/amd64",), "3.11", None)
    platform = LockedPlatform(found.suite, found.snapshot, found.debs, ())
    text = Lock("env", recipe.to_json(), "uv", "0", None, {"linux/amd64": platform}).text()
    assert "127.0.0.1" not in text
    assert "http" not in text
    assert parse(text, Path("env.json")).platforms["linux/amd64"] == platform


def test_several_images_see_one_state(server: Server, signer: Signer, tmp_path: Path) -> None:
    with Debian(
        cutoff=None,
        reporter=Recorder(),
        mirrors=places(server),
        cache=tmp_path / "cache",
        rings=[signer.keyring],
        now=lambda: NOW,
    ) as debian:
        debian.lock("bookworm", "amd64", "3.11", [])
        asked = len(server.requests)
        debian.lock("bookworm", "amd64", "3.11", ["git"])
        assert len(server.requests) == asked


def test_what_will_be_asked_for_is_fetched_beside_it(server: Server, signer: Signer, tmp_path: Path) -> None:
    """A suite's architectures, each index once; one that the suite has not is no fault until somebody wants it."""
    publish(server.root / "debian", signer, "bookworm", MAIN, date=NOW, valid=None, architectures=("amd64", "arm64"))
    ahead = [("bookworm", "amd64"), ("bookworm", "arm64"), ("bookworm", "riscv64"), ("trixie", "amd64")]
    with Debian(
        cutoff=None,
        reporter=Recorder(),
        mirrors=places(server),
        cache=tmp_path / "cache",
        rings=[signer.keyring],
        now=lambda: NOW,
        ahead=ahead,
    ) as debian:
        debian.lock("bookworm", "amd64", "3.11", [])
        with pytest.raises(FetchError, match="for riscv64, found"):
            debian.lock("bookworm", "riscv64", "3.11", [])
    indices = [r for r in server.requests if "/binary-" in r or "/by-hash/" in r]
    assert len(indices) == len(set(indices))
    assert {part for r in indices for part in r.split("/") if part.startswith("binary-")} >= {"binary-amd64"}
    assert not any("trixie" in r for r in server.requests)


# -- requests ----------------------------------------------------------------------------------------


def test_versions_and_virtual_packages_as_apt_get_takes_them(server: Server, signer: Signer, tmp_path: Path) -> None:
    found = lock(server, signer, tmp_path, ["libcurl=7.88", "sole", "mime", "only:amd64"])
    assert {d.name: d.version for d in found.debs if not d.base} == {
        "libcurl": "7.88",
        "only": "3",
        "perl-base": "5.36",
    }
    assert "`sole` is provided by only" in found.notes
    with pytest.raises(ResolutionError, match="`mta` is a virtual package, provided by exim, postfix") as e:
        lock(server, signer, tmp_path, ["mta"])
    assert e.value.hint == "ask for one of them by name"


@pytest.mark.parametrize(
    "text", ["--no-install-recommends", "git/bookworm", "Git", "git curl", "git-", "", "git:arm64"]
)
def test_what_is_no_request(server: Server, signer: Signer, tmp_path: Path, text: str) -> None:
    if text == "git-":
        # A name may end in a hyphen by the letter; there is none.
        with pytest.raises(ResolutionError, match="there is no package `git-`"):
            lock(server, signer, tmp_path, [text])
        return
    with pytest.raises(InputError):
        lock(server, signer, tmp_path, [text])


def test_a_package_that_does_not_exist(server: Server, signer: Signer, tmp_path: Path) -> None:
    with pytest.raises(ResolutionError) as e:
        lock(server, signer, tmp_path, ["gti", "posfix"])
    assert e.value.message == "bookworm (main, amd64): there is no package `gti`"
    assert e.value.hint == "did you mean `git`"


def test_a_python_that_the_suite_does_not_have(server: Server, signer: Signer, tmp_path: Path) -> None:
    with pytest.raises(
        ResolutionError, match=r"expected python3.13 for the image's Python, found python3.11 python3.12"
    ):
        lock(server, signer, tmp_path, python="3.13")
    with pytest.raises(InputError, match=r"expected a version such as 3.11, found `3`"):
        lock(server, signer, tmp_path, python="3")
    with pytest.raises(InputError, match="Debian suite"):
        lock(server, signer, tmp_path, suite="../bookworm")
