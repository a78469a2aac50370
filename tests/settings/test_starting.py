"""Where a command starts when its line leaves it open."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.kernel.errors import InputError
from flyte_build.planning.workspace import find_lockfiles
from flyte_build.settings import default_file, stated_root


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a file in ``src/app`` and nothing stated."""
    monkeypatch.delenv("FLYTE_BUILD_LOCKFILES", raising=False)
    (tmp_path / ".git").mkdir()
    (tmp_path / "src" / "app").mkdir(parents=True)
    (tmp_path / "src" / "app" / "main.py").touch()
    return tmp_path


def state(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.flyte-build]\n{text}\n", encoding="utf-8")


def test_the_default_file_is_found_from_every_folder_below(project: Path) -> None:
    state(project, 'file = "src/app/main.py"')
    expected = project / "src" / "app" / "main.py"
    assert default_file(project) == default_file(project / "src" / "app") == expected
    (project / "elsewhere").mkdir()
    state(project, 'file = "elsewhere/../src/./app/main.py"')
    assert default_file(project) == expected


def test_without_a_default_file_the_error_says_how_to_state_one(project: Path) -> None:
    with pytest.raises(InputError) as caught:
        default_file(project)
    assert caught.value.message == "no FILE was named, and `file` is not set in a pyproject.toml here or above"
    assert '`file = "main.py"` below [tool.flyte-build]' in (caught.value.hint or "")
    state(project, 'root = "src"')
    with pytest.raises(InputError) as caught:
        default_file(project / "src")
    assert caught.value.message == f"no FILE was named, and `file` is not set in {project / 'pyproject.toml'}"


@pytest.mark.parametrize(("value", "found"), [("mian.py", "nothing"), ("src", "a folder")])
def test_a_default_file_that_is_none_is_named_with_who_stated_it(project: Path, value: str, found: str) -> None:
    state(project, f'file = "{value}"')
    with pytest.raises(InputError) as caught:
        default_file(project)
    where = f"{project / 'pyproject.toml'}: [tool.flyte-build]: file"
    assert caught.value.message == f"{where}: expected a Python file, found {found} at {project / value}"


def test_the_root_is_the_options_then_the_settings(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "src")
    file = Path("app") / "main.py"
    assert stated_root(file) is None
    state(project, 'root = "src"')
    assert stated_root(file) == project / "src"
    assert stated_root(file, Path("..")) == project / "src" / ".."
    state(project, 'root = "."')
    assert stated_root(file) == project


def test_a_root_below_which_the_file_lies_is_spelled_as_the_file_is(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state(project, 'root = "src/../src"')
    monkeypatch.chdir(project / "src")
    file = Path("..") / "src" / "app" / "main.py"
    assert file.absolute().is_relative_to(stated_root(file) or "")


@pytest.mark.parametrize("root", ["..", "../other", "src/../..", "/"])
def test_a_root_from_which_the_settings_are_not_found_is_refused(project: Path, root: str) -> None:
    state(project, f'root = "{root}"')
    with pytest.raises(InputError) as caught:
        stated_root(project / "src" / "app" / "main.py")
    assert f"root: expected a folder in {project}, found '{root}'" in caught.value.message


def test_the_locks_are_where_the_variable_says_then_the_key_then_where_they_are_found(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project / "src"
    assert find_lockfiles(root) == project / "lockfiles"
    (root / "lockfiles").mkdir()
    assert find_lockfiles(root) == root / "lockfiles"
    state(project, 'registry = "registry.example/x"')
    assert find_lockfiles(root) == root / "lockfiles"
    state(project, 'lockfiles = "src/locks"')
    assert find_lockfiles(root) == root / "locks"
    assert find_lockfiles(root / "app") == root / "locks"
    monkeypatch.setenv("FLYTE_BUILD_LOCKFILES", "here")
    monkeypatch.chdir(project)
    assert find_lockfiles(root) == project / "here"
