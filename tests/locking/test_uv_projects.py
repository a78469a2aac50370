"""uv projects are answered by uv: each source, two indexes that offer the same name, and what uv's settings mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.kernel.errors import FetchError, LoadError, LockError, RefusedError, ResolutionError
from flyte_build.kernel.reporting import Recorder
from flyte_build.recipe import PipInstall, Recipe
from flyte_build.recipe.uv_projects import read_uv_files, uv_project

from ..support.index import SimpleIndex
from ..support.locking import pins, publish, recipe
from ..support.uv import asked, explicit, image_of, locked, pyproject, uv_lock

# -- what uv's settings mean ---------------------------------------------------------------------------


def test_forks_by_marker_are_judged_for_the_image(app: Path, index: SimpleIndex) -> None:
    pyproject(app, "a==1.0; platform_machine == 'aarch64'", "a==2.0; platform_machine != 'aarch64'")
    uv_lock(app, index)
    both = image_of(app)
    lock = locked(app, index, Recipe(both.base, ("linux/amd64", "linux/arm64"), "3.11", None, both.steps))
    assert (pins(lock, "linux/amd64")["a"][0], pins(lock, "linux/arm64")["a"][0]) == ("2.0", "1.0")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ('[tool.uv]\noverride-dependencies = ["b==1.0"]', {"a": "1.0", "b": "1.0"}),
        ('[tool.uv]\nconstraint-dependencies = ["b<2"]', {"a": "1.0", "b": "1.0"}),
        ('[tool.uv]\nresolution = "lowest-direct"', {"a": "1.0", "b": "2.0"}),
        ("[tool.uv]\nrequired-environments = [\"platform_machine == 'aarch64'\"]", {"a": "1.0", "b": "2.0"}),
    ],
)
def test_what_chooses_versions(app: Path, index: SimpleIndex, more: str, expected: dict[str, str]) -> None:
    publish(index.folder, "a 1.0: b>=1")
    pyproject(app, "a<2", more=f"{more}\n")
    uv_lock(app, index)
    assert {name: version for name, (version, _) in pins(locked(app, index)).items()} == expected


def test_an_override_stands_against_what_a_wheel_says(app: Path, index: SimpleIndex) -> None:
    publish(index.folder, "strict 1.0: b<2")
    pyproject(app, "strict", more='[tool.uv]\noverride-dependencies = ["b==2.0"]\n')
    uv_lock(app, index)
    assert pins(locked(app, index)) == {"b": ("2.0", 1), "strict": ("1.0", 1)}


def test_an_image_that_the_project_does_not_support(app: Path, index: SimpleIndex) -> None:
    pyproject(app, "a", more="[tool.uv]\nenvironments = [\"sys_platform == 'darwin'\"]\n")
    uv_lock(app, index)
    with pytest.raises(ResolutionError, match=r"supports `sys_platform == \"darwin\"`, and not linux/amd64"):
        locked(app, index)


GROUPS = """
[project.optional-dependencies]
x = ["a<2"]
[dependency-groups]
dev = ["d"]
ml = ["b<2"]
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (None, {"c", "d"}),
        ("--no-dev", {"c"}),
        ("--no-default-groups --inexact --active", {"c"}),
        ("--extra x", {"a", "b", "c", "d"}),
        ("--extra=x --no-group=dev", {"a", "b", "c"}),
        ("--all-extras", {"a", "b", "c", "d"}),
        ("--group ml", {"b", "c", "d"}),
        ("--only-group ml --no-install-project", {"b"}),
        ("--only-dev", {"d"}),
        ("--no-install-package c", {"d"}),
    ],
)
def test_extras_and_groups(app: Path, index: SimpleIndex, words: str | None, expected: set[str]) -> None:
    publish(index.folder, "d 1")
    pyproject(app, "c", more=GROUPS)
    uv_lock(app, index)
    assert set(pins(locked(app, index, image_of(app, extra_args=words)))) == expected


def test_extras_that_conflict(app: Path, index: SimpleIndex) -> None:
    extras = '[project.optional-dependencies]\nold = ["a==1.0"]\nnew = ["a==2.0"]\n'
    pyproject(app, more=extras + '[tool.uv]\nconflicts = [[{ extra = "old" }, { extra = "new" }]]\n')
    uv_lock(app, index)
    for extra, version in (("old", "1.0"), ("new", "2.0")):
        assert pins(locked(app, index, image_of(app, extra_args=f"--extra {extra}")))["a"] == (version, 1)
    with pytest.raises(LoadError, match=r"uv refuses the project: .*incompatible"):
        locked(app, index, image_of(app, extra_args="--extra old --extra new"))


def test_what_uv_refuses_is_said_in_its_words(app: Path, index: SimpleIndex) -> None:
    pyproject(app, "c")
    uv_lock(app, index)
    with pytest.raises(LoadError, match=r"uv refuses the project: .*`nope`"):
        locked(app, index, image_of(app, extra_args="--extra nope"))


# -- the uv.lock ---------------------------------------------------------------------------------------


def test_a_lock_is_frozen_whatever_is_newer(app: Path, index: SimpleIndex) -> None:
    pyproject(app, "a")
    before = uv_lock(app, index).read_bytes()
    publish(index.folder, "a 3.0", "b 3.0")
    assert pins(locked(app, index, upgrade=True)) == {"a": ("2.0", 1), "b": ("2.0", 1)}
    assert (app / "uv.lock").read_bytes() == before


def test_a_lock_may_have_been_made_with_options_of_its_own(app: Path, index: SimpleIndex) -> None:
    index.uploaded = {f"{n}-py3-none-any.whl": f"2026-0{m}-01T00:00:00Z" for n, m in [("a-1.0", 1), ("a-2.0", 3)]}
    index.uploaded |= {f"b-{v}-py3-none-any.whl": "2026-01-01T00:00:00Z" for v in ("1.0", "2.0")}
    pyproject(app, "a")
    uv_lock(app, index, "--exclude-newer", "2026-02-01", "--resolution", "lowest")
    assert pins(locked(app, index))["a"] == ("1.0", 1)


def test_a_stale_lock_is_told_in_uvs_words(app: Path, index: SimpleIndex) -> None:
    pyproject(app, "a")
    uv_lock(app, index)
    pyproject(app, "a", "c")
    with pytest.raises(LockError, match=r"uv\.lock: does not answer pyproject\.toml as it is now") as e:
        locked(app, index)
    assert e.value.exit_code == 4
    assert "needs to be updated" in str(e.value.detail)
    assert not list((app / "lockfiles").glob("*"))
    assert pins(locked(app, index, image_of(app, extra_args="--frozen"))).keys() == {"a", "b"}


def test_another_index_of_this_machine_makes_no_lock_stale(
    app: Path, index: SimpleIndex, ours: SimpleIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyproject(app, "a", more=f'[[tool.uv.index]]\nname = "d"\nurl = "{index.url}"\ndefault = true\n')
    uv_lock(app)
    monkeypatch.setenv("UV_DEFAULT_INDEX", ours.url)
    assert pins(locked(app, index))["a"] == ("2.0", 1)


def test_an_index_that_the_image_names_is_where_files_are_and_no_other_lock(
    app: Path, index: SimpleIndex, ours: SimpleIndex
) -> None:
    publish(ours.folder, "a 2.0: b", "a 3.0", "b 2.0")
    pyproject(app, "a")
    assert pins(locked(app, index, image_of(app, index_url=ours.url)))["a"] == ("3.0", 1)
    uv_lock(app, index)
    wanted = image_of(app, index_url=ours.url)
    (ours.folder / "a-2.0-py3-none-any.whl").write_bytes((index.folder / "a-2.0-py3-none-any.whl").read_bytes())
    assert pins(locked(app, index, wanted))["a"] == ("2.0", 1)


def test_the_cut_off_is_for_what_no_lock_holds(app: Path, index: SimpleIndex) -> None:
    days = {"a-1.0": "2026-01-01", "a-2.0": "2026-03-01", "b-1.0": "2026-01-01", "b-2.0": "2026-03-01"}
    index.uploaded = {f"{name}-py3-none-any.whl": f"{day}T00:00:00Z" for name, day in days.items()}
    pyproject(app, "a")
    early = locked(app, index, cutoff="2026-02-01")
    assert {name: version for name, (version, _) in pins(early).items()} == {"a": "1.0", "b": "1.0"}
    uv_lock(app, index)
    assert pins(locked(app, index, image_of(app), cutoff="2026-02-01"))["a"] == ("2.0", 1)


def test_other_bytes_than_the_lock_has_are_exit_6(app: Path, index: SimpleIndex, ours: SimpleIndex) -> None:
    publish(ours.folder, "toolz 1.0")
    pyproject(app, "toolz", more=explicit(ours.url, "toolz"))
    uv_lock(app, index)
    publish(ours.folder, "toolz 1.0: intruder")
    with pytest.raises(FetchError, match=r"toolz-1\.0-py3-none-any\.whl") as e:
        locked(app, index)
    assert e.value.exit_code == 6


def test_a_lock_elsewhere(app: Path, index: SimpleIndex, tmp_path: Path) -> None:
    pyproject(app, "a")
    uv_lock(app, index).rename(tmp_path / "other.lock")
    publish(index.folder, "a 3.0")
    assert pins(locked(app, index, image_of(app, uvlock=tmp_path / "other.lock")))["a"] == ("2.0", 1)
    assert not (app / "uv.lock").exists()


def test_dynamic_metadata_are_not_held_against_the_lock_and_run_no_backend(app: Path, index: SimpleIndex) -> None:
    backend = '[build-system]\nrequires = ["nowhere"]\nbuild-backend = "nowhere"\n'
    path = pyproject(app, "a", more=backend)
    uv_lock(app, index)
    path.write_text(path.read_text().replace('version = "1"', 'dynamic = ["version"]'))
    said = Recorder()
    assert pins(locked(app, index, reporter=said))["a"] == ("2.0", 1)
    assert any("uv.lock is not held against version of app" in warning for warning in said.warnings)
    (app / "uv.lock").unlink()
    # Without one uv has to be told some version of what is not installed.
    assert pins(locked(app, index))["a"] == ("2.0", 1)
    path.write_text(
        path.read_text().replace('dynamic = ["version"]', 'version = "1"\ndynamic = ["optional-dependencies"]')
    )
    with pytest.raises(RefusedError, match="optional-dependencies: dynamic, which only its build backend can tell"):
        locked(app, index)


@pytest.mark.parametrize("files", [("setup.py",), ("pyproject.toml",)])
def test_a_sibling_whose_backend_alone_knows_it(
    app: Path, index: SimpleIndex, tmp_path: Path, files: tuple[str, ...]
) -> None:
    """A setup.py, a [tool.poetry]: what would be run says so by itself."""
    ran = tmp_path / "ran"
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "setup.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    if "pyproject.toml" in files:
        (tmp_path / "lib" / "pyproject.toml").write_text('[tool.poetry]\nname = "lib"\n')
    pyproject(app, "lib", more='[tool.uv.sources]\nlib = { path = "../lib", editable = true }\n')
    with pytest.raises(RefusedError, match="metadata: dynamic, which only its build backend can tell"):
        locked(app, index)
    assert not ran.exists()


def test_a_python_that_this_machine_need_not_have(app: Path, index: SimpleIndex) -> None:
    pyproject(app, "a; python_full_version < '3.99'", python=">=3.11")
    uv_lock(app, index)
    wanted = image_of(app)
    other = Recipe(wanted.base, wanted.platforms, "3.13", None, wanted.steps)
    assert pins(locked(app, index, other))["a"] == ("2.0", 1)


def test_a_project_for_another_python_than_ours(app: Path, index: SimpleIndex) -> None:
    pyproject(app, "a", python="==3.29.*")
    asked_of = uv_project(read_uv_files(app / "pyproject.toml"), ("--no-emit-project",), lambda path: path.name)
    with pytest.raises(ResolutionError, match=r"requires Python ==3\.29\.\*, the image has 3\.11\.2"):
        locked(app, index, recipe(PipInstall((), uv=asked_of)))


# -- what else is in the image -------------------------------------------------------------------------


def test_the_flyte_that_uv_names_is_the_images(app: Path, index: SimpleIndex) -> None:
    publish(index.folder, "flyte 1.0: b", "flyte 2.0: b")
    pyproject(app, "flyte==1.0", "c")
    uv_lock(app, index)
    wanted = image_of(app)
    said = Recorder()
    with_client = Recipe(wanted.base, wanted.platforms, "3.11", "2.0", wanted.steps)
    assert pins(locked(app, index, with_client, reporter=said)) == {
        "flyte": ("1.0", 0),
        "b": ("2.0", 0),
        "c": ("1.0", 1),
    }
    assert any("the image has flyte 1.0, as its uv project says, and not 2.0" in note for note in said.notes)


@pytest.mark.parametrize("resolver", ["uv", "pip-tools"])
def test_other_packages_are_chosen_around_the_projects(
    app: Path, index: SimpleIndex, ours: SimpleIndex, resolver: str
) -> None:
    publish(ours.folder, "toolz 1.0: hidden", "hidden 1.0: c; extra=='more'")
    publish(index.folder, "hidden 7", "user 2.0: hidden>1", "user 1.0: hidden[more]", "flyte 2.0: toolz")
    sources = explicit(ours.url, "toolz") + 'hidden = { index = "ours" }\n'
    pyproject(app, "toolz", "hidden", more=sources)
    uv_lock(app, index)
    index.asked.clear()
    wanted = image_of(app)
    mixed = Recipe(wanted.base, wanted.platforms, "3.11", "2.0", (*wanted.steps, PipInstall(("user",))))
    assert pins(locked(app, index, mixed, resolver=resolver)) == {
        "flyte": ("2.0", 0),
        "toolz": ("1.0", 1),
        "hidden": ("1.0", 1),
        "user": ("1.0", 2),
        "c": ("1.0", 2),
    }
    assert asked(index, "hidden") == asked(index, "toolz") == []


def test_what_cannot_be_around_the_project_is_said(app: Path, index: SimpleIndex) -> None:
    pyproject(app, "b==1.0")
    uv_lock(app, index)
    wanted = image_of(app)
    mixed = Recipe(wanted.base, wanted.platforms, "3.11", None, (*wanted.steps, PipInstall(("b>1",))))
    with pytest.raises(ResolutionError, match="no versions of `b>1` fit together") as e:
        locked(app, index, mixed)
    assert "only b<=1 is available" in str(e.value.detail)
    assert "what uv names for a project stands" in str(e.value.hint)


def test_of_two_projects_the_later_has_the_last_word(app: Path, index: SimpleIndex) -> None:
    pyproject(app, "a==1.0", "c")
    pyproject(app / "more", "a==2.0", "b==2.0", name="more")
    first, second = image_of(app), image_of(app, "more/pyproject.toml")
    both = Recipe(first.base, first.platforms, "3.11", None, (*first.steps, *second.steps))
    assert pins(locked(app, index, both)) == {"a": ("2.0", 2), "b": ("2.0", 1), "c": ("1.0", 1)}


def test_without_uv_nobody_else_answers(app: Path, index: SimpleIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    pyproject(app, "a")
    monkeypatch.setattr("flyte_build.locking.pypi.uv.uv_binary", lambda: None)
    monkeypatch.setattr("flyte_build.locking.project.named", lambda name: None)
    with pytest.raises(RefusedError, match=r"pyproject\.toml: uv answers its projects, and uv is not installed"):
        locked(app, index)


def test_an_unchanged_project_is_not_asked_about(
    app: Path, index: SimpleIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyproject(app, "a")
    first = locked(app, index)
    publish(index.folder, "a 3.0")
    monkeypatch.setattr("flyte_build.locking.pypi.held.export", None)
    assert locked(app, index) == first
