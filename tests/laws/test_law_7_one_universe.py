"""Law 7, inheritance is sharing: environments agree on versions wherever their requirements allow, and the same
wheel is the same step, so that it is the same layer; where they cannot agree, the lock says why.

Resolved by the real uv against an index on the loopback.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.deriving.derivation import derive
from flyte_build.kernel.reporting import Recorder
from flyte_build.locking.pypi import NoSolution
from flyte_build.locks.lockfile import Lock, read

from ..support.index import SimpleIndex
from ..support.locking import pins, project, publish, recipe


@pytest.fixture
def folder(tmp_path: Path, index: SimpleIndex, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path / "cache"))
    publish(index.folder, "flyte 2.0: click", "click 8.0", "click 8.1")
    publish(index.folder, "pandas 1.5: numpy", "pandas 2.0: numpy>=1.5", "numpy 1.0", "numpy 1.9", "numpy 2.0")
    publish(index.folder, "torch 2.0: numpy<2", "ruff 0.1", "ruff 0.2", "pytest 8.0: pluggy", "pluggy 1.0")
    return tmp_path / "lockfiles"


def locked(lock: Lock, *names: str) -> list[object]:
    return [w for w in lock.platforms["linux/amd64"].wheels if w.name in names]


def test_a_restriction_of_one_holds_for_all_that_can_live_with_it(folder: Path, index: SimpleIndex) -> None:
    locks = project({"data": recipe("pandas"), "model": recipe("torch")}, folder, index).locks
    assert pins(locks["data"]) == {"pandas": ("2.0", 1), "numpy": ("1.9", 1)}
    assert pins(locks["model"]) == {"torch": ("2.0", 1), "numpy": ("1.9", 1)}
    assert locked(locks["data"], "numpy") == locked(locks["model"], "numpy")
    assert locks["data"].apart is locks["model"].apart is None


def test_alone_each_would_have_chosen_otherwise(folder: Path, index: SimpleIndex) -> None:
    locks = project({"data": recipe("pandas")}, folder, index).locks
    assert pins(locks["data"])["numpy"] == ("2.0", 1)


def test_an_image_that_extends_two_others_has_their_very_artifacts(folder: Path, index: SimpleIndex) -> None:
    recipes = {
        "fold": recipe("ruff", flyte="2.0"),
        "msa": recipe("pytest", flyte="2.0"),
        "main": recipe("ruff", "pytest", flyte="2.0"),
    }
    locks = project(recipes, folder, index).locks
    assert locked(locks["main"], "flyte", "click", "ruff") == locked(locks["fold"], "flyte", "click", "ruff")
    assert {w.sha256 for w in locked(locks["main"], "pytest", "pluggy")} == {  # type: ignore[attr-defined]
        w.sha256
        for w in locked(locks["msa"], "pytest", "pluggy")  # type: ignore[attr-defined]
    }
    layers = {n: [layer.hash for layer in derive(locks[n], recipes[n], "linux/amd64").layers] for n in recipes}
    assert layers["main"][: len(layers["fold"])] == layers["fold"], "all of fold's layers, then its own"
    assert len(layers["main"]) == len(layers["fold"]) + 1
    assert set(layers["msa"]) <= set(layers["main"]), "and the step that msa has is the same layer too"


def test_a_requirement_of_the_runtime_stays_in_the_runtimes_layer(folder: Path, index: SimpleIndex) -> None:
    locks = project({"a": recipe("click ruff", flyte="2.0"), "b": recipe("ruff", flyte="2.0")}, folder, index).locks
    assert pins(locks["a"]) == pins(locks["b"]) == {"flyte": ("2.0", 0), "click": ("8.1", 0), "ruff": ("0.2", 1)}


def test_those_that_conflict_are_solved_apart_and_say_why(folder: Path, index: SimpleIndex) -> None:
    recipes = {
        "a_old": recipe("ruff==0.1 pandas"),
        "b_new": recipe("ruff==0.2 torch"),
        "c_free": recipe("ruff pytest"),
    }
    said = Recorder()
    locks = project(recipes, folder, index, reporter=said).locks
    assert {name: pins(lock)["ruff"][0] for name, lock in locks.items()} == {
        "a_old": "0.1",
        "b_new": "0.2",
        "c_free": "0.1",
    }
    assert {name: lock.apart for name, lock in locks.items()} == {
        "a_old": None,
        "b_new": "no solution with a_old: ruff==0.2 here, ruff==0.1 there",
        "c_free": None,
    }
    kept = read(folder, "b_new")
    assert kept is not None
    assert kept.apart == locks["b_new"].apart


def test_a_conflict_deep_down_names_the_other_environment(folder: Path, index: SimpleIndex) -> None:
    locks = project({"data": recipe("numpy>=2"), "model": recipe("torch")}, folder, index).locks
    assert locks["model"].apart == "no solution with data"
    assert pins(locks["model"])["numpy"] == ("1.9", 1)


def test_groups_do_not_depend_on_the_order_of_the_file(folder: Path, index: SimpleIndex, tmp_path: Path) -> None:
    recipes = {"b": recipe("ruff==0.2"), "a": recipe("ruff==0.1"), "c": recipe("ruff pandas")}
    project(recipes, folder, index)
    project(dict(sorted(recipes.items())), tmp_path / "other", index)
    for name in recipes:
        assert (folder / f"{name}.json").read_bytes() == (tmp_path / "other" / f"{name}.json").read_bytes()


def test_one_environment_without_a_solution_is_named(folder: Path, index: SimpleIndex) -> None:
    with pytest.raises(NoSolution, match="environment b: no versions of `numpy>=2`, `torch` fit together") as e:
        project({"a": recipe("ruff"), "b": recipe("torch numpy>=2")}, folder, index)
    assert "numpy" in str(e.value.detail)
    assert not folder.exists(), "nothing is half-written"


def test_platforms_and_pythons_agree_where_they_can(folder: Path, index: SimpleIndex) -> None:
    publish(index.folder, "native 1.0 [cp311-cp311-manylinux_2_28_x86_64]", "native 1.0 [cp313-abi3-linux_aarch64]")
    publish(index.folder, "native 1.0 [cp311-cp311-manylinux_2_28_aarch64]", "native 1.0 [cp313-cp313-linux_x86_64]")
    publish(index.folder, "native 2.0 [cp313-cp313-manylinux_2_28_x86_64]")
    both = ("linux/amd64", "linux/arm64")
    locks = project(
        {"a": recipe("native", platforms=both), "b": recipe("native", python="3.13")},  # type: ignore[arg-type]
        folder,
        index,
    ).locks
    assert pins(locks["a"]) == pins(locks["a"], "linux/arm64") == pins(locks["b"]) == {"native": ("1.0", 1)}
    files = {lock.platforms[p].wheels[0].file for lock in locks.values() for p in lock.platforms}
    assert len(files) == 3
