"""Locking for real, from the indexes that are configured here: the flyte runtime and pytest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from flyte_build.kernel.reporting import Silent
from flyte_build.locking.project import lock_project
from flyte_build.locks.lockfile import Lock
from flyte_build.recipe import Recipe
from flyte_build.sources.indexes import IndexClient, configured

from ..support.locking import HOST_PLATFORM, HOST_PYTHON, FakeDebian, recipe

pytestmark = pytest.mark.integration

FLYTE = "2.12.1"
BOTH = ("linux/amd64", "linux/arm64")


def lock(recipes: dict[str, Recipe], directory: Path, resolver: str = "uv") -> dict[str, Lock]:
    report = lock_project(
        recipes, directory, resolver=resolver, reporter=Silent(), root=directory.parent, debian=FakeDebian()
    )
    return dict(report.locks)


@pytest.fixture(scope="module")
def locks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lock]:
    folder = tmp_path_factory.mktemp("locks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLYTE_BUILD_CACHE", str(folder / "cache"))
        recipes = {
            "three_eleven": recipe("pytest", flyte=FLYTE, platforms=BOTH),  # type: ignore[arg-type]
            "extended": recipe("pytest", "ruff", flyte=FLYTE, platforms=BOTH),  # type: ignore[arg-type]
            "three_thirteen": recipe("pytest", flyte=FLYTE, platforms=BOTH, python="3.13"),  # type: ignore[arg-type]
        }
        return lock(recipes, folder / "lockfiles")


def test_every_target_has_its_wheels(locks: dict[str, Lock]) -> None:
    machine = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
    for name, made in locks.items():
        python = "cp311" if made.python == "3.11" else "cp313"
        for platform, locked in made.platforms.items():
            wheels = {w.name: w for w in locked.wheels}
            assert (wheels["flyte"].version, wheels["flyte"].step) == (FLYTE, 0)
            assert wheels["pytest"].step == 1
            native = [w for w in locked.wheels if not w.file.endswith("-any.whl")]
            assert native
            assert all(machine[platform] in w.file for w in native), name
            assert python in wheels["pydantic-core"].file
            assert all(w.size > 0 for w in locked.wheels)


def test_one_universe(locks: dict[str, Lock]) -> None:
    for platform in BOTH:
        plain = {w.name: w for w in locks["three_eleven"].platforms[platform].wheels}
        extended = {w.name: w for w in locks["extended"].platforms[platform].wheels}
        assert plain.items() <= extended.items()
        assert {w.name for w in extended.values() if w.step == 2} == {"ruff"}
    versions = {w.name: w.version for w in locks["three_eleven"].platforms["linux/amd64"].wheels}
    for made in locks.values():
        for locked in made.platforms.values():
            assert {n: v for n, v in ((w.name, w.version) for w in locked.wheels) if versions.get(n, v) != v} == {}


def test_no_configured_host_is_written(locks: dict[str, Lock]) -> None:
    hosts = [urlsplit(index.url).hostname for index in configured().indexes]
    assert hosts
    for made in locks.values():
        assert not [host for host in hosts if host and host in made.text()]


def test_what_is_locked_can_be_had(locks: dict[str, Lock], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path))
    (wheel,) = [w for w in locks["three_eleven"].platforms["linux/arm64"].wheels if w.name == "iniconfig"]
    client = IndexClient(configured())
    location = next(iter(client.locate(wheel.file, wheel.sha256)))
    assert location.stated
    with client.stream(location.url) as response:
        body = response.read()
    assert (len(body), hashlib.sha256(body).hexdigest()) == (wheel.size, wheel.sha256)


def test_pip_tools_locks_the_same_packages(locks: dict[str, Lock], tmp_path: Path) -> None:
    name = {"3.11": "three_eleven", "3.13": "three_thirteen"}.get(HOST_PYTHON)
    assert name, f"Python {HOST_PYTHON} is the Python of no image"
    wanted = recipe("pytest", flyte=FLYTE, platforms=(HOST_PLATFORM,), python=HOST_PYTHON)
    made = lock({name: wanted}, tmp_path / "lockfiles", "pip-tools")[name]
    assert made.platforms[HOST_PLATFORM].wheels == locks[name].platforms[HOST_PLATFORM].wheels
