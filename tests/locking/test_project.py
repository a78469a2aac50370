"""Locking a project: what moves and what does not, when nothing is written, and what the user is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.kernel.errors import (
    InputError,
    LoadError,
    RefusedError,
)
from flyte_build.locks.lockfile import read
from flyte_build.recipe import AptInstall, EnvVars, PipInstall

from ..support.index import SimpleIndex
from ..support.locking import HOST_PLATFORM, HOST_PYTHON, FakeDebian, pins, project, publish, recipe

DAY = {"a-1.0": "2026-01-01T00:00:00Z", "a-2.0": "2026-02-01T12:00:00Z", "b-1.0": "2026-01-01T00:00:00Z"}


@pytest.fixture
def folder(tmp_path: Path, index: SimpleIndex) -> Path:
    publish(index.folder, "a 1.0: b", "b 1.0", "c 1.0: b")
    return tmp_path / "lockfiles"


def texts(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.json"))}


def test_a_first_lock(folder: Path, index: SimpleIndex) -> None:
    wanted = recipe("a")
    report = project({"e": wanted}, folder, index)
    assert (report.written, report.unchanged, report.notes) == (("e",), (), ())
    lock = read(folder, "e")
    assert lock == report.locks["e"]
    assert lock.answers(wanted)
    assert lock.resolver == "uv"
    assert lock.cutoff is None
    (a, b) = lock.platforms["linux/amd64"].wheels
    assert (a.file, a.size, a.sha256, a.step) == (
        "a-1.0-py3-none-any.whl",
        (index.folder / "a-1.0-py3-none-any.whl").stat().st_size,
        index.sha256("a-1.0-py3-none-any.whl"),
        1,
    )
    assert b.name == "b"


def test_unchanged_recipes_are_not_asked_about(folder: Path, index: SimpleIndex) -> None:
    project({"e": recipe("a"), "f": recipe("c")}, folder, index)
    before = texts(folder)
    publish(index.folder, "a 2.0", "b 2.0")
    index.asked.clear()
    debian = FakeDebian("20270101T000000Z")
    report = project({"e": recipe("a"), "f": recipe("c")}, folder, index, debian=debian)
    assert (report.written, report.unchanged) == ((), ("e", "f"))
    assert (texts(folder), index.asked, debian.calls) == (before, [], [])


def test_nothing_else_moves(folder: Path, index: SimpleIndex) -> None:
    project({"e": recipe("a"), "f": recipe("c")}, folder, index)
    before = texts(folder)
    publish(index.folder, "a 2.0: b", "b 2.0", "c 2.0: b", "d 1.0: b, c")
    report = project({"e": recipe("a"), "f": recipe("c d"), "g": recipe("a d")}, folder, index)
    assert report.written == ("f", "g")
    assert texts(folder)["e"] == before["e"]
    assert pins(report.locks["f"]) == {"b": ("1.0", 1), "c": ("1.0", 1), "d": ("1.0", 1)}
    assert pins(report.locks["g"])["a"] == ("1.0", 1)


def test_what_has_to_move_moves_alone_and_is_told(folder: Path, index: SimpleIndex) -> None:
    project({"e": recipe("a"), "f": recipe("c")}, folder, index)
    publish(index.folder, "a 2.0: b", "b 2.0", "c 2.0: b")
    report = project({"e": recipe("a"), "f": recipe("c b>1")}, folder, index)
    assert pins(report.locks["f"]) == {"b": ("2.0", 1), "c": ("1.0", 1)}
    assert report.notes == ("b: 1.0 in e, 2.0 in f; `--upgrade-package b` solves them together",)
    together = project({"e": recipe("a"), "f": recipe("c b>1")}, folder, index, upgrade=["b"])
    assert [pins(lock)["b"] for lock in together.locks.values()] == [("2.0", 1), ("2.0", 1)]
    assert pins(together.locks["e"])["a"] == ("1.0", 1)
    assert together.notes == ()


def test_upgrade_everything_or_one(folder: Path, index: SimpleIndex) -> None:
    recipes = {"e": recipe("a"), "f": recipe("c")}
    project(recipes, folder, index)
    before = texts(folder)
    publish(index.folder, "a 2.0: b", "b 2.0", "c 2.0: b")
    report = project(recipes, folder, index, upgrade=["C", "zzz"])
    assert (report.written, report.notes) == (("f",), ("no lock holds `zzz`: nothing to upgrade",))
    assert texts(folder)["e"] == before["e"]
    assert pins(report.locks["f"]) == {"b": ("1.0", 1), "c": ("2.0", 1)}
    debian = FakeDebian("20270101T000000Z")
    report = project(recipes, folder, index, upgrade=True, debian=debian)
    assert pins(report.locks["e"]) == {"a": ("2.0", 1), "b": ("2.0", 1)}
    assert {p.snapshot for lock in report.locks.values() for p in lock.platforms.values()} == {debian.today}


def test_what_is_no_package_asks_no_index(folder: Path, index: SimpleIndex) -> None:
    project({"e": recipe("a")}, folder, index)
    publish(index.folder, "a 2.0")
    index.asked.clear()
    changed = recipe("a", EnvVars((("X", "1"),)))
    report = project({"e": changed}, folder, index)
    assert report.written == ("e",)
    assert report.locks["e"].answers(changed)
    assert pins(report.locks["e"])["a"] == ("1.0", 1)
    assert index.asked == []


def test_steps_follow_the_recipe(folder: Path, index: SimpleIndex) -> None:
    wanted = recipe("b", EnvVars((("X", "1"),)), "a", "c b")
    assert pins(project({"e": wanted}, folder, index).locks["e"]) == {"b": ("1.0", 1), "a": ("1.0", 2), "c": ("1.0", 3)}


def test_an_image_without_python_packages(folder: Path, index: SimpleIndex) -> None:
    lock = project({"e": recipe()}, folder, index).locks["e"]
    assert lock.platforms["linux/amd64"].wheels == ()
    assert index.asked == []


# -- Debian ------------------------------------------------------------------------------------------


def test_one_archive_state_for_all(folder: Path, index: SimpleIndex) -> None:
    debian = FakeDebian()
    both = ("linux/amd64", "linux/arm64")
    recipes = {"e": recipe(platforms=both), "f": recipe(AptInstall(("curl",)), platforms=both)}  # type: ignore[arg-type]
    project(recipes, folder, index, debian=debian)
    assert debian.calls == [
        (None, "bookworm", "amd64", "3.11", ()),
        (None, "bookworm", "arm64", "3.11", ()),
        (None, "bookworm", "amd64", "3.11", ("curl",)),
        (None, "bookworm", "arm64", "3.11", ("curl",)),
    ]


def test_a_new_neighbour_has_the_base_that_is_there(folder: Path, index: SimpleIndex) -> None:
    first = project({"e": recipe("a")}, folder, index)
    later = FakeDebian("20270101T000000Z")
    recipes = {"e": recipe("a"), "plain": recipe(), "apt": recipe(AptInstall(("curl",)))}
    report = project(recipes, folder, index, debian=later)
    assert later.calls == [("2026-01-01T00:00:00Z", "bookworm", "amd64", "3.11", ("curl",))]
    base = first.locks["e"].platforms["linux/amd64"].debs
    assert report.locks["plain"].platforms["linux/amd64"].debs == base
    assert tuple(d for d in report.locks["apt"].platforms["linux/amd64"].debs if d.base) == base


def test_the_python_packages_are_for_the_locked_python(folder: Path, index: SimpleIndex) -> None:
    publish(index.folder, "late 1.0", "late 2.0")
    index.python["late-2.0-py3-none-any.whl"] = ">=3.11.4"
    assert pins(project({"e": recipe("late")}, folder, index).locks["e"]) == {"late": ("1.0", 1)}


# -- the cut-off -------------------------------------------------------------------------------------


def dated(index: SimpleIndex) -> None:
    publish(index.folder, "a 2.0: b", "n 1.0")
    days = {**DAY, "n-1.0": "2026-01-10T00:00:00Z"}
    index.uploaded = {f"{stem}-py3-none-any.whl": day for stem, day in days.items()}


def test_a_cut_off_is_recorded_and_kept(folder: Path, index: SimpleIndex) -> None:
    dated(index)
    debian = FakeDebian("20270101T000000Z")
    report = project({"e": recipe("a")}, folder, index, cutoff="2026-01-15", debian=debian)
    assert report.locks["e"].cutoff == "2026-01-15T23:59:59Z"
    assert pins(report.locks["e"])["a"] == ("1.0", 1)
    assert debian.calls[0][0] == "2026-01-15T23:59:59Z"
    report = project({"e": recipe("a"), "f": recipe("a n")}, folder, index)
    assert report.locks["f"].cutoff == "2026-01-15T23:59:59Z"
    assert pins(report.locks["f"])["a"] == ("1.0", 1)
    assert any("kept the cut-off 2026-01-15T23:59:59Z" in note for note in report.notes)


def test_another_cut_off_is_a_new_question(folder: Path, index: SimpleIndex) -> None:
    dated(index)
    project({"e": recipe("a")}, folder, index)
    report = project({"e": recipe("a")}, folder, index, cutoff="2026-01-15T12:00:00+02:00")
    assert report.written == ("e",)
    assert report.locks["e"].cutoff == "2026-01-15T10:00:00Z"
    assert pins(report.locks["e"])["a"] == ("1.0", 1)
    assert project({"e": recipe("a")}, folder, index, cutoff="2026-01-15T10:00:00Z").unchanged == ("e",)
    report = project({"e": recipe("a")}, folder, index, upgrade=True)
    assert report.locks["e"].cutoff is None
    assert pins(report.locks["e"])["a"] == ("2.0", 1)
    assert any("no longer holds" in note for note in report.notes)


def test_a_cut_off_that_is_no_date(folder: Path, index: SimpleIndex) -> None:
    with pytest.raises(InputError, match="found `tomorrow`"):
        project({"e": recipe("a")}, folder, index, cutoff="tomorrow")


# -- other sources -----------------------------------------------------------------------------------


def test_a_local_wheel_is_locked_by_its_hash(folder: Path, index: SimpleIndex, tmp_path: Path) -> None:
    publish(tmp_path / "own", "mine 1.0: a")
    publish(index.folder, "mine 1.0: c", "mine 9.0")
    step = PipInstall(("c",), wheels=("own/mine-1.0-py3-none-any.whl",))
    for resolver in ("uv", "pip-tools"):
        where = folder / resolver
        wanted = recipe("b", step, platforms=(HOST_PLATFORM,), python=HOST_PYTHON)
        lock = project({"e": wanted}, where, index, root=tmp_path, resolver=resolver).locks["e"]
        assert pins(lock, HOST_PLATFORM) == {"b": ("1.0", 1), "a": ("1.0", 2), "c": ("1.0", 2), "mine": ("1.0", 2)}
        (mine,) = [w for w in lock.platforms[HOST_PLATFORM].wheels if w.name == "mine"]
        assert (tmp_path / "own" / mine.file).stat().st_size == mine.size
        assert mine.sha256 != index.sha256(mine.file)
    with pytest.raises(LoadError, match=r"gone\.whl: no such wheel"):
        project({"g": recipe(PipInstall((), wheels=("gone.whl",)))}, folder, index, root=tmp_path)


def test_an_index_of_its_own(folder: Path, index: SimpleIndex, tmp_path: Path) -> None:
    publish(tmp_path / "cuda", "torch 1.0+cu1: b", "b 0.5")
    publish(index.folder, "torch 2.0")
    with SimpleIndex(tmp_path / "cuda") as cuda:
        own = PipInstall(("torch",), index=cuda.url)
        report = project({"e": recipe("a", own), "f": recipe("a")}, folder, index)
        alone = project({"g": recipe(own)}, folder, index)
    assert pins(report.locks["e"]) == {"a": ("1.0", 1), "b": ("1.0", 1), "torch": ("1.0+cu1", 2)}
    assert pins(report.locks["f"]) == {"a": ("1.0", 1), "b": ("1.0", 1)}
    assert (report.locks["e"].apart, report.locks["f"].apart) == ("asks indexes of its own", None)
    assert alone.locks["g"].apart is None
    assert pins(alone.locks["g"]) == {"b": ("0.5", 1), "torch": ("1.0+cu1", 1)}


def test_constraints_and_pre_releases_are_the_recipes(folder: Path, index: SimpleIndex) -> None:
    publish(index.folder, "a 2.0: b", "b 2.0b1")
    recipes = {
        "constrained": recipe(PipInstall(("a",), constraints=("a<2",))),
        "early": recipe(PipInstall(("b",), pre=True)),
    }
    report = project(recipes, folder, index)
    assert pins(report.locks["constrained"]) == {"a": ("1.0", 1), "b": ("1.0", 1)}
    assert pins(project(recipes, folder, index, upgrade=True).locks["early"])["b"][0] in ("1.0", "2.0b1")
    assert pins(project({"early": recipes["early"]}, folder / "own", index).locks["early"]) == {"b": ("2.0b1", 1)}


def test_locations_are_refused(folder: Path, index: SimpleIndex) -> None:
    for text in ("d@https://index.example/d-1-py3-none-any.whl", "d@git+https://index.example/d", "d@file:///d.whl"):
        with pytest.raises(
            RefusedError, match=f"environment e: `{text.replace('+', '.')}` installs from a location"
        ) as e:
            project({"e": recipe(text)}, folder, index)
        assert "publish d as a wheel" in str(e.value.hint)


# -- the other resolver ----------------------------------------------------------------------------


def test_both_resolvers_lock_the_same_packages(folder: Path, index: SimpleIndex, tmp_path: Path) -> None:
    machine, tag = (
        {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}[HOST_PLATFORM],
        f"cp{HOST_PYTHON.replace('.', '')}",
    )
    publish(index.folder, "flyte 2.0: click>=8, b; python_version>'3.2', w; sys_platform=='win32'", "click 8.1", "w 1")
    publish(index.folder, "x 1.0: y[fast]>=1", "y 1.0: z; extra=='fast'", "z 1.0", "z 2.0a1", "n 1.0")
    publish(
        index.folder, f"n 1.0 [{tag}-abi3-manylinux_2_17_{machine}]", f"n 1.0 [{tag}-{tag}-manylinux_2_28_{machine}]"
    )
    recipes = {
        "e": recipe("x", "a n", flyte="2.0", platforms=(HOST_PLATFORM,), python=HOST_PYTHON),
        "f": recipe("n", "c", flyte="2.0", platforms=(HOST_PLATFORM,), python=HOST_PYTHON),
    }
    by_uv = project(recipes, folder, index).locks
    by_pip = project(recipes, tmp_path / "pip", index, resolver="pip-tools").locks
    for name in recipes:
        assert by_pip[name].resolver == "pip-tools"
        same = replace(by_pip[name], resolver="uv", resolver_version=by_uv[name].resolver_version)
        assert same == by_uv[name]
    wheels = {w.name: w.file for w in by_uv["e"].platforms[HOST_PLATFORM].wheels}
    assert set(wheels) == {"flyte", "click", "b", "x", "y", "z", "a", "n"}
    assert wheels["n"] == f"n-1.0-{tag}-{tag}-manylinux_2_28_{machine}.whl"
