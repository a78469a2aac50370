"""Locking an image's Debian packages: from a small signed archive, and from the real one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from flyte_build import mirrors as mirrors_module
from flyte_build.aptsources import HostApt
from flyte_build.errors import FetchError, InputError, ResolutionError
from flyte_build.locking.apt import Debian, DebianResolution, index, lock_debian
from flyte_build.locking.apt.lock import BASE
from flyte_build.locking.apt.omissions import OMISSIONS
from flyte_build.locking.apt.package import Package
from flyte_build.locking.lockfile import Lock, LockedPlatform, parse
from flyte_build.mirrors import MAIN_MIRROR, SECURITY_MIRROR, SNAPSHOT_MIRROR, Mirrors, configured
from flyte_build.recipe import DebianBase, Recipe
from flyte_build.reporting import Recorder
from tests.support.archive import NOW, Deb, Server, Signer, publish, serve
from tests.support.tools import need

SOURCES = {"libgcc-s1": "gcc-12", "libstdc++6": "gcc-12", "libc-bin": "glibc", "python3.11": "python3.11"}
MAIN = [
    *(Deb(n, "1.0", {"Depends": "libc6 (>= 2)"}, source=SOURCES.get(n)) for n in BASE if n not in ("grep", "dash")),
    Deb("grep", "3.8", {"Pre-Depends": "dpkg (>= 1.15), libc6", "Essential": "yes"}),
    Deb("dash", "0.5", {"Depends": "debianutils, dpkg"}),
    Deb("debianutils", architecture="all"),
    Deb("dpkg", "1.21", {"Depends": "tar", "Essential": "yes"}),
    Deb("login", "4", {"Essential": "yes"}),
    Deb("libc6", "2.36", source="glibc"),
    Deb("python3.11", "3.11.2", {"Depends": "libpython3.11-stdlib (= 3.11.2), mime"}),
    Deb("python3.12", "3.12.0"),
    Deb("libpython3.11-stdlib", "3.11.2", source="python3.11"),
    Deb("media-types", "10", {"Provides": "mime"}, architecture="all"),
    Deb("git", "1:2.39", {"Depends": "libc6, libcurl, perl"}),
    Deb("perl", "5.36", {"Depends": "perl-base (= 5.36), dpkg"}),
    Deb("perl-base", "5.36", {"Essential": "yes"}),
    Deb("libcurl", "7.88"),
    Deb("exim", "4", {"Provides": "mta"}),
    Deb("postfix", "3", {"Provides": "mta"}),
    Deb("only", "3", {"Provides": "sole"}),
]
UPDATES = [Deb("tzdata", "1.1", architecture="all")]
SECURITY = [Deb("libcurl", "7.88+deb12u1")]


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    one = Signer(tmp_path_factory.mktemp("key"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def published(signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archive")
    publish(root / "debian", signer, "bookworm", MAIN, date=NOW - timedelta(days=30), valid=None)
    publish(root / "debian", signer, "bookworm-updates", UPDATES, date=NOW - timedelta(hours=9))
    publish(root / "debian-security", signer, "bookworm-security", SECURITY, archive="debian-security")
    return root


@pytest.fixture
def server(published: Path, tmp_path: Path) -> Iterator[Server]:
    index._scanned.clear()
    shutil.copytree(published, tmp_path / "www")
    with serve(tmp_path / "www") as one:
        yield one


def places(server: Server, snapshots: bool = False, settings: dict[str, str] | None = None) -> Mirrors:
    env = {
        MAIN_MIRROR: f"{server.url}/debian",
        SNAPSHOT_MIRROR: f"{server.url}/snapshot" if snapshots else "off",
    }
    return configured(env, HostApt(settings=settings or {}))


def lock(
    server: Server,
    signer: Signer,
    tmp_path: Path,
    packages: Sequence[str] = (),
    *,
    cutoff: str | None = None,
    reporter: Recorder | None = None,
    mirrors: Mirrors | None = None,
    suite: str = "bookworm",
    python: str = "3.11",
    **options: Any,
) -> DebianResolution:
    with Debian(
        cutoff=cutoff,
        reporter=reporter or Recorder(),
        mirrors=mirrors or places(server),
        cache=tmp_path / "cache",
        rings=[signer.keyring],
        now=lambda: NOW,
        **options,
    ) as debian:
        return debian.lock(suite, "amd64", python, packages)


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
    assert [d.name for d in named.debs if not d.base] == ["dpkg"]
    assert [o.name for o in named.omitted] == ["login", "perl-base"]


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


# -- requests ----------------------------------------------------------------------------------------


def test_versions_and_virtual_packages_as_apt_get_takes_them(server: Server, signer: Signer, tmp_path: Path) -> None:
    found = lock(server, signer, tmp_path, ["libcurl=7.88", "sole", "mime", "only:amd64"])
    assert {d.name: d.version for d in found.debs if not d.base} == {"libcurl": "7.88", "only": "3"}
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


# -- what a mirror can do wrong ------------------------------------------------------------------------


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


def test_nothing_configured(server: Server, signer: Signer, tmp_path: Path) -> None:
    with pytest.raises(FetchError) as e:
        lock(server, signer, tmp_path, mirrors=configured({SNAPSHOT_MIRROR: "off"}, HostApt()))
    assert "no mirror of the debian archive is configured" in e.value.message
    assert f"${MAIN_MIRROR}" in str(e.value.hint)


# -- cut-off dates -------------------------------------------------------------------------------------


@pytest.fixture
def history(server: Server, signer: Signer, tmp_path: Path) -> Server:
    """A snapshot archive with one state: ten days before NOW, without the security update."""
    past, at = tmp_path / "past", NOW - timedelta(days=10)
    publish(past / "debian", signer, "bookworm", MAIN, date=NOW - timedelta(days=30), valid=None)
    publish(past / "debian", signer, "bookworm-updates", [], date=at)
    publish(past / "debian-security", signer, "bookworm-security", [], archive="debian-security", date=at)
    server.snapshots["20260304T130000Z"] = past
    return server


def versions(found: DebianResolution) -> dict[str, str]:
    return {d.name: d.version for d in found.debs}


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


def test_without_a_snapshot_archive_a_cutoff_is_a_warning_that_names_the_state(
    server: Server, signer: Signer, tmp_path: Path
) -> None:
    reporter = Recorder()
    found = lock(server, signer, tmp_path, ["git"], cutoff="2026-03-05", reporter=reporter)
    assert versions(found)["libcurl"] == "7.88+deb12u1"
    assert len(reporter.warnings) == 1
    assert "the cut-off 2026-03-05 is not applied: the mirrors are of 2026-03-14 06:00 UTC" in reporter.warnings[0]


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
    with pytest.raises(InputError, match="cut-off date: expected YYYY-MM-DD or an instant"):
        lock(server, signer, tmp_path, cutoff=text)


# -- the real archive, from this host's own sources ------------------------------------------------------


@pytest.mark.parametrize(
    ("suite", "architecture", "python"),
    [("bookworm", "amd64", "3.11"), ("trixie", "amd64", "3.13"), ("bookworm", "arm64", "3.11")],
)
def test_debian_itself(suite: str, architecture: str, python: str) -> None:
    need("gpgv")
    index._scanned.clear()
    with TemporaryDirectory() as cache, Debian(cutoff=None, reporter=Recorder(), cache=Path(cache)) as debian:
        found = debian.lock(suite, architecture, python, ["git", "curl"])
        universe = debian._universe(suite, architecture, debian._state(suite))
    names = {d.name for d in found.debs}
    assert {"git", "curl", f"python{python}", "libc6", "ca-certificates"} <= names
    assert not names & OMISSIONS.keys()
    for deb in found.debs:
        assert deb.size > 0
        assert len(deb.sha256) == 64
        assert deb.architecture in (architecture, "all")
    assert not closure_gaps([p for d in found.debs for p in universe.versions(d.name) if p.version == d.version])
    some = [found.debs[0], next(d for d in found.debs if d.name == "git"), found.debs[-1]]
    some += [d for d in found.debs if d.archive == "debian-security"][:2]
    with mirrors_module.configured().client() as client:
        for deb in some:
            urls = mirrors_module.pool_urls(deb, found.snapshot)
            assert any(_answers(client, url) for url in urls[:2]), urls


def _answers(client: httpx.Client, url: str) -> bool:
    return client.head(url).status_code == 200


def closure_gaps(packages: Sequence[Package]) -> list[str]:
    """What is depended on and neither there nor cut: an independent reading of the dependencies."""
    provided = {p.name for p in packages} | {r.name for p in packages for r in p.provides}
    return [
        f"{p.name}: {clause}"
        for p in packages
        for clause in p.depends
        if not any(r.name in provided or r.name in OMISSIONS for r in clause)
    ]


def test_one_image_by_the_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path))
    with httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(404))) as client:
        monkeypatch.setenv(MAIN_MIRROR, "http://mirror.example/debian")
        monkeypatch.setenv(SNAPSHOT_MIRROR, "off")
        monkeypatch.setattr(mirrors_module, "_host_apt", HostApt)
        with pytest.raises(FetchError, match=r"GET http://mirror.example/debian/dists/bookworm/InRelease: 404"):
            lock_debian("bookworm", "amd64", "3.11", [], cutoff=None, reporter=Recorder(), http=client)
