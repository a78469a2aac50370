"""Bad input: what cannot be resolved, and indexes and archives that fail or lie. Then nothing is locked."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator

import pytest

from ..support.offline import Offline, snapshot, workflow

ALPHA = "alpha-1.0-py3-none-any.whl"
RESOLVERS = (
    "uv",
    pytest.param(
        "pip-tools",
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(
                sys.version_info[:2] != (3, 11),
                reason="pip-tools resolves for the Python it runs on, and the base here has 3.11",
            ),
        ],
    ),
)


@pytest.fixture(autouse=True)
def _locks_are_as_they_were(offline: Offline) -> Iterator[None]:
    offline.locked()
    before = snapshot(offline.lockfiles)
    yield
    assert snapshot(offline.lockfiles) == before
    offline.verified()


@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize(
    ("packages", "words"),
    [
        ("nosuchthing", {"uv": "nosuchthing was not found", "pip-tools": "No matching distribution|Could not find"}),
        (
            "gamma alpha==1.0",
            {"uv": "all versions of gamma depend on alpha<1", "pip-tools": "gamma 1.0 depends on alpha<1"},
        ),
        ("alpha>=7", {"uv": "only alpha==1.0 is available", "pip-tools": "(from versions: 1.0)|versions: 1.0"}),
    ],
)
def test_no_solution(offline: Offline, resolver: str, packages: str, words: dict[str, str]) -> None:
    offline.publish("gamma", requires=["alpha<1"])
    offline.write(workflow(f"low: {packages}", "top(low): beta"))
    said = offline.refused(5, "lock", "flow.py", "--resolver", resolver)
    assert "error: environment low: no versions of " in said
    assert all(f"`{p}`" in said for p in packages.split())
    assert " fit together on linux/amd64, Python 3.11, glibc 2.36\n" in said
    found = [w for w in words[resolver].split("|") if w in said]
    assert found, said
    assert said.count(found[0]) == 1, "the resolver's own words, once"
    hints = {
        "nosuchthing": "is misspelt|may be misspelt",
        "alpha>=7": "alpha has no wheel for|ask for versions that agree",
    }
    hint = said.partition("hint: ")[2]
    assert any(words in hint for words in hints.get(packages, "ask for versions that agree").split("|")), hint
    assert "Traceback" not in said


def test_a_cut_off_may_be_why(offline: Offline) -> None:
    offline.index.uploaded[ALPHA] = "2026-01-02T00:00:00Z"
    said = offline.refused(5, "lock", "flow.py", "--upgrade", "--exclude-newer", "2026-01-01", "--env", "low")
    assert "hint: " in said
    assert "2026-01-01T23:59:59Z" in said or "2026-01-02T00:00:00Z" in said


@pytest.mark.parametrize(
    ("tag", "words"),
    [("cp39-cp39-win_amd64", "`cp39`"), ("cp311-cp311-macosx_11_0_arm64", "macosx")],
)
def test_no_wheel_for_the_platform(offline: Offline, tag: str, words: str) -> None:
    offline.publish("delta", tag=tag)
    offline.write(workflow("low: delta", "top(low): beta"))
    said = offline.refused(5, "lock", "flow.py")
    assert "error: environment low: no versions of `delta`" in said
    assert words in said


def test_a_source_distribution_that_is_none(offline: Offline) -> None:
    (offline.index.folder / "delta-1.0.tar.gz").write_bytes(b"a source distribution")
    offline.write(workflow("low: delta", "top(low): beta"))
    said = offline.refused(8, "lock", "flow.py")
    assert "error: delta-1.0.tar.gz: expected a source distribution (PEP 625)" in said
    assert "hint: ask for another version of it" in said


def test_no_such_debian_package(offline: Offline) -> None:
    offline.write(workflow("low: alpha", "top(low): beta", body="low.image = base.with_apt_packages('nosuchdeb')"))
    said = offline.refused(5, "lock", "flow.py")
    assert "error: bookworm (main, amd64): there is no package `nosuchdeb`\n" in said
    assert "allowed by `apt-components` and `apt-sources`" in said


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_an_index_that_is_down(offline: Offline, resolver: str) -> None:
    offline.patch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    offline.write(workflow("low: gamma", "top(low): beta"))
    said = offline.refused(6, "lock", "flow.py", "--resolver", resolver)
    assert "could not ask an index" in said
    assert "Retrying" not in said
    assert "hint: check the index's address and the network\n" in said


def test_an_index_that_is_overloaded(offline: Offline) -> None:
    offline.index.failing["/simple/alpha"] = itertools.repeat(503)
    said = offline.refused(6, "lock", "flow.py", "--upgrade")
    assert f"error: uv could not ask an index: Failed to fetch: {offline.index.url}/alpha/\n" in said
    assert "503 Service Unavailable" in said


def test_an_index_that_lies_about_a_hash(offline: Offline) -> None:
    offline.publish("gamma")
    offline.index.lies["gamma-1.0-py3-none-any.whl"] = "0" * 64
    offline.write(workflow("low: gamma", "top(low): beta"))
    said = offline.refused(6, "lock", "flow.py")
    assert f"/files/gamma-1.0-py3-none-any.whl: the index states sha256 {'0' * 64}, the file has " in said
    assert (
        "hint: nothing was taken: try again, and if it stays so, tell whoever runs the index, or configure another\n"
        in said
    )


def test_an_archive_that_is_down(offline: Offline) -> None:
    offline.patch.setenv("FLYTE_BUILD_DEBIAN_MIRROR", "http://127.0.0.1:9/debian")
    said = offline.refused(6, "lock", "flow.py", "--upgrade")
    assert "error: GET http://127.0.0.1:9/debian/dists/bookworm/InRelease: " in said
    assert "Connection refused\n" in said
    assert "hint: check the network, or name another mirror in $FLYTE_BUILD_DEBIAN_MIRROR\n" in said


def test_an_archive_that_nobody_signed(offline: Offline) -> None:
    release = offline.archive.root / "debian" / "dists" / "bookworm" / "InRelease"
    release.write_bytes(release.read_bytes().replace(b"Codename: bookworm", b"Codename: bookwarm"))
    said = offline.refused(6, "lock", "flow.py", "--upgrade")
    assert "expected a good signature by a key of " in said
    assert "hint: the mirror may be tampered with or half updated" in said


@pytest.mark.parametrize("value", ["ftp://mirror.example/debian", "mirror.example"])
def test_a_mirror_that_is_no_url(offline: Offline, value: str) -> None:
    offline.patch.setenv("FLYTE_BUILD_DEBIAN_MIRROR", value)
    said = offline.refused(2, "lock", "flow.py", "--upgrade")
    assert f"error: $FLYTE_BUILD_DEBIAN_MIRROR: expected http or https URLs, found `{value}`\n" in said
    assert "hint: name the folder that holds `dists` and `pool`" in said
