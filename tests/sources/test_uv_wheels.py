"""A uv project's wheels are fetched from where the project allows, and nobody else is asked for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import flyte
import pytest

from flyte_build.deriving.nouns import Artifact
from flyte_build.kernel.errors import FetchError
from flyte_build.kernel.reporting import Silent
from flyte_build.locks.lockfile import Lock
from flyte_build.project.images import read_image
from flyte_build.recipe import PipInstall, Recipe
from flyte_build.sources.fetching import fetch
from flyte_build.sources.locators import project_locator
from flyte_build.store import Store

from ..support.index import SimpleIndex
from ..support.locking import pins, publish
from ..support.uv import asked, explicit, image_of, locked, pyproject, uv_lock

# With a uv.lock, and without one.
BOTH = pytest.mark.parametrize("lock_first", [pytest.param(True, marks=pytest.mark.slow), False])


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleIndex]:
    """What this machine is told of; it has a `toolz` of its own."""
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    publish(tmp_path / "public", "toolz 1.0: intruder", "c 1.0", "d 1.0")
    with SimpleIndex(tmp_path / "public") as served:
        monkeypatch.setenv("UV_DEFAULT_INDEX", served.url)
        yield served


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[SimpleIndex]:
    publish(tmp_path / "ours", "toolz 1.0")
    with SimpleIndex(tmp_path / "ours") as served:
        yield served


def artifacts(lock: Lock, name: str | None = None) -> list[Artifact]:
    wheels = [w for w in lock.platforms["linux/amd64"].wheels if name in (None, w.name)]
    return [Artifact(w.sha256, w.size, w.file, w) for w in wheels]


def fetched(tmp_path: Path, root: Path, recipe: Recipe, lock: Lock, name: str | None = None) -> dict[str, Path]:
    locator = project_locator({"e": recipe}, {"e": lock}, root)
    return fetch(artifacts(lock, name), Store(tmp_path / "store"), locator=locator, reporter=Silent())


@BOTH
def test_an_explicit_index(tmp_path: Path, index: SimpleIndex, ours: SimpleIndex, lock_first: bool) -> None:
    pyproject(tmp_path, "toolz", "c", more=explicit(ours.url, "toolz"))
    if lock_first:
        uv_lock(tmp_path, index)
    recipe = image_of(tmp_path)
    lock = locked(tmp_path, index)
    index.asked.clear()
    found = fetched(tmp_path, tmp_path, recipe, lock)
    assert found.keys() == {ours.sha256("toolz-1.0-py3-none-any.whl"), index.sha256("c-1.0-py3-none-any.whl")}
    assert asked(index, "toolz") == []
    assert asked(ours, "c") == []


@BOTH
def test_other_bytes_are_refused_and_no_other_index_is_asked(
    tmp_path: Path, index: SimpleIndex, ours: SimpleIndex, lock_first: bool
) -> None:
    pyproject(tmp_path, "toolz", more=explicit(ours.url, "toolz"))
    if lock_first:
        uv_lock(tmp_path, index)
    recipe = image_of(tmp_path)
    lock = locked(tmp_path, index)
    publish(ours.folder, "toolz 1.0: changed")
    index.asked.clear()
    with pytest.raises(FetchError, match=r"toolz-1\.0-py3-none-any\.whl") as e:
        fetched(tmp_path, tmp_path, recipe, lock)
    assert e.value.exit_code == 6
    assert index.asked == []


def test_a_wheel_that_two_images_have_is_also_had_as_the_other_says(
    tmp_path: Path, index: SimpleIndex, ours: SimpleIndex
) -> None:
    publish(ours.folder, "c 1.0")
    pyproject(tmp_path, "c", more=explicit(ours.url, "c"))
    recipe = image_of(tmp_path)
    lock = locked(tmp_path, index)
    (ours.folder / "c-1.0-py3-none-any.whl").unlink()
    with pytest.raises(FetchError):
        fetched(tmp_path, tmp_path, recipe, lock)
    plain = Recipe(recipe.base, recipe.platforms, "3.11", None, (PipInstall(("c",)),))
    locator = project_locator({"e": recipe, "f": plain}, {"e": lock, "f": lock}, tmp_path)
    assert fetch(artifacts(lock), Store(tmp_path / "store"), locator=locator, reporter=Silent())


@BOTH
def test_the_runtime_of_a_project_is_had_from_its_indexes(
    tmp_path: Path, index: SimpleIndex, ours: SimpleIndex, monkeypatch: pytest.MonkeyPatch, lock_first: bool
) -> None:
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    publish(ours.folder, "flyte 1.0: toolz", "c 1.0: own", "own 1.0")
    more = f'[[tool.uv.index]]\nname = "ours"\nurl = "{ours.url}"\ndefault = true\n'
    pyproject(tmp_path, "flyte", "c", more=more)
    if lock_first:
        uv_lock(tmp_path)
    plain = image_of(tmp_path)
    recipe = Recipe(plain.base, plain.platforms, "3.11", "2.0", plain.steps)
    lock = locked(tmp_path, index, recipe)
    runtime = 0 if lock_first else 1
    assert pins(lock) == {"flyte": ("1.0", runtime), "toolz": ("1.0", runtime), "c": ("1.0", 1), "own": ("1.0", 1)}
    assert len(fetched(tmp_path, tmp_path, recipe, lock)) == 4
    assert index.asked == []


@BOTH
def test_addresses_and_files(tmp_path: Path, index: SimpleIndex, ours: SimpleIndex, lock_first: bool) -> None:
    publish(tmp_path / "dist", "d 1.0: c")
    sources = f'toolz = {{ url = "http://{ours.host}/files/toolz-1.0-py3-none-any.whl" }}\n'
    sources += 'd = { path = "dist/d-1.0-py3-none-any.whl" }\n'
    pyproject(tmp_path, "toolz", "d", more=f"[tool.uv.sources]\n{sources}")
    if lock_first:
        uv_lock(tmp_path, index)
    recipe = image_of(tmp_path)
    lock = locked(tmp_path, index)
    index.asked.clear()
    assert len(fetched(tmp_path, tmp_path, recipe, lock)) == 3
    assert asked(index, "toolz") == asked(index, "d") == []


def test_without_the_project_nobody_is_asked_in_place_of_its_index(
    tmp_path: Path, index: SimpleIndex, ours: SimpleIndex
) -> None:
    pyproject(tmp_path / "app", "toolz", "c", more=explicit(ours.url, "toolz"))
    recipe = image_of(tmp_path, "app/pyproject.toml")
    lock = locked(tmp_path, index, recipe)
    (tmp_path / "app" / "pyproject.toml").unlink()
    index.asked.clear()
    with pytest.raises(FetchError, match="is to be asked of the index `ours` only"):
        fetched(tmp_path, tmp_path, recipe, lock, "toolz")
    assert asked(index, "toolz") == []
    assert fetched(tmp_path, tmp_path, recipe, lock, "c")


def test_a_lock_alone_knows_which_packages_are_a_projects(
    tmp_path: Path, index: SimpleIndex, ours: SimpleIndex
) -> None:
    pyproject(tmp_path, "toolz", more=explicit(ours.url, "toolz"))
    lock = locked(tmp_path, index)
    index.asked.clear()
    locator = project_locator({}, {"e": lock}, tmp_path)
    assert fetch(artifacts(lock), Store(tmp_path / "store"), locator=locator, reporter=Silent())
    (tmp_path / "pyproject.toml").unlink()
    (tmp_path / "other").mkdir()
    locator = project_locator({}, {"e": lock}, tmp_path)
    with pytest.raises(FetchError, match="is to be asked of the index `ours` only"):
        fetch(artifacts(lock), Store(tmp_path / "other"), locator=locator, reporter=Silent())
    assert asked(index, "toolz") == []


def test_where_the_project_is_another_one_its_names_still_hold(
    tmp_path: Path, index: SimpleIndex, ours: SimpleIndex
) -> None:
    pyproject(tmp_path, "toolz", more=explicit(ours.url, "toolz"))
    recipe = image_of(tmp_path)
    lock = locked(tmp_path, index, recipe)
    pyproject(tmp_path, "toolz")
    index.asked.clear()
    with pytest.raises(FetchError, match=r"no place that .* allows has it"):
        fetched(tmp_path, tmp_path, recipe, lock)
    assert index.asked == []


@pytest.mark.parametrize("name", ["", '# name = "ours"\n'])
def test_a_script_with_an_index_of_its_own(tmp_path: Path, index: SimpleIndex, ours: SimpleIndex, name: str) -> None:
    own = f'# [[tool.uv.index]]\n# url = "{ours.url}"\n{name}'
    block = f'# /// script\n# requires-python = ">=3.10"\n# dependencies = ["toolz", "c"]\n{own}# ///\n'
    (tmp_path / "s.py").write_text(block)
    image = flyte.Image.from_uv_script(tmp_path / "s.py", name="s", python_version=(3, 11), platform=("linux/amd64",))
    recipe = read_image(image, "environment e", tmp_path)
    index.asked.clear()
    lock = locked(tmp_path, index, recipe)
    found = fetched(tmp_path, tmp_path, recipe, lock, "toolz")
    assert found.keys() == {ours.sha256("toolz-1.0-py3-none-any.whl")}
    assert asked(index, "toolz") == []
    assert fetched(tmp_path, tmp_path, recipe, lock, "c")


def test_what_the_lock_saw_elsewhere_is_had_from_what_is_configured(tmp_path: Path, index: SimpleIndex) -> None:
    """A uv.lock names the index that its author had; this machine has a mirror of it."""
    pyproject(tmp_path, "c")
    lockfile = uv_lock(tmp_path, index)
    lockfile.write_text(lockfile.read_text().replace(index.host, "127.0.0.1:9"))
    recipe = image_of(tmp_path, extra_args="--frozen")
    lock = locked(tmp_path, index, recipe)
    assert "127.0.0.1" not in lock.text()
    assert fetched(tmp_path, tmp_path, recipe, lock).keys() == {index.sha256("c-1.0-py3-none-any.whl")}
