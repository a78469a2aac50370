"""poetry.lock of Poetry 1: what is installed where is worked out from the project, by Poetry's own library."""

from __future__ import annotations

import builtins
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import LoadError, RefusedError
from flyte_build.recipe.poetry import poetry_choice, poetry_requirements
from flyte_build.recipe.requirements import ParsedRequirements

PROJECT = """\
[tool.poetry]
name = "app"
version = "1"
description = ""
authors = []
[tool.poetry.dependencies]
python = ">=3.10"
alpha = {version = "^1.0", extras = ["Speed"]}
backport = {version = "*", python = "<3.11"}
numb = {version = "*", optional = true}
twice = [
    {version = "^1", markers = "sys_platform == 'win32'"},
    {version = "^2", markers = "sys_platform != 'win32'"},
]
[tool.poetry.extras]
fast = ["numb"]
[tool.poetry.dev-dependencies]
check = "*"
[tool.poetry.group.docs]
optional = true
[tool.poetry.group.docs.dependencies]
sphinks = "*"
"""
ROWS = """\
[[package]]
name = "alpha"
version = "1.4"
category = "main"
optional = false
python-versions = "*"
[package.dependencies]
Low-Level = ">=1"
quick = {version = ">=1", optional = true, markers = "extra == \\"speed\\""}
never = {version = "*", optional = true, markers = "extra == \\"other\\""}
older = {version = "*", optional = true}
[package.extras]
speed = ["quick (>=1)", "older"]
other = ["never"]
[[package]]
name = "low-level"
version = "3"
[package.dependencies]
alpha = "*"
twice = "*"
backport = {version = "*", markers = "python_version < \\"3.12\\" and platform_machine == \\"x86_64\\""}
[[package]]
name = "twice"
version = "1.5"
[package.dependencies]
of-one = "*"
[[package]]
name = "twice"
version = "2.5"
[[package]]
name = "of-one"
version = "1"
"""
OTHERS = ("quick", "never", "older", "backport", "numb", "check", "sphinks", "nobody")


def lock_of(project: dict[str, Any], version: str) -> str:
    rows = ROWS + "".join(f'[[package]]\nname = "{name}"\nversion = "1"\n' for name in OTHERS)
    keys = ("dependencies", "source", "extras", "dev-dependencies")
    content = {key: project.get(key) for key in keys} | {"group": project["group"]}
    stated = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    files = '[metadata.files]\nnever = []\nalpha = [{file = "alpha-1.4.tar.gz", hash = "sha256:' + "a" * 64 + '"}]\n'
    return (
        f'{rows}[extras]\nfast = ["numb"]\n[metadata]\nlock-version = "{version}"\ncontent-hash = "{stated}"\n{files}'
    )


def read(folder: Path, words: str = "", version: str = "1.1", project: str = PROJECT) -> ParsedRequirements:
    import tomllib

    (folder / "pyproject.toml").write_text(project)
    (folder / "poetry.lock").write_text(lock_of(tomllib.loads(project)["tool"]["poetry"], version))
    choice = poetry_choice(words.split(), "here")
    return poetry_requirements(
        folder / "pyproject.toml", folder / "poetry.lock", choice, lambda path: path.name, installs=False
    )


MAIN = {
    "alpha==1.4",
    "low-level==3",
    'twice==1.5 ; sys_platform == "win32"',
    'twice==2.5 ; sys_platform != "win32"',
    'of-one==1 ; sys_platform == "win32"',
    "quick==1",
    "older==1",
    'backport==1 ; python_version < "3.11"',
    'backport==1 ; platform_machine == "x86_64" and python_version < "3.12"',
}


@pytest.mark.parametrize("version", ["1.0", "1.1", "2.0"])
@pytest.mark.parametrize(
    ("words", "more"),
    [
        ("--only main", set()),
        ("", {"check==1"}),
        ("--only main -E fast", {"numb==1"}),
        ("--only main --all-extras", {"numb==1"}),
        ("--with docs --without dev", {"sphinks==1"}),
    ],
)
def test_what_is_chosen(tmp_path: Path, words: str, more: set[str], version: str) -> None:
    found = read(tmp_path, words, version)
    assert set(found.requirements) == MAIN | more
    assert found.hashes["alpha"] == ("a" * 64,)


def test_a_group_alone(tmp_path: Path) -> None:
    assert read(tmp_path, "--only docs").requirements == ["sphinks==1"]


def test_without_poetry_s_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("poetry."):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RefusedError, match="of Poetry 1, and only poetry-core, which is not installed here") as e:
        read(tmp_path)
    assert "pip install 'flyte-build[poetry]'" in str(e.value.hint)


def test_what_poetry_does_not_accept(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="Poetry does not accept it"):
        read(
            tmp_path,
            project=PROJECT.replace('version = "1"\ndesc', 'version = ""\ndesc').replace('name = "app"', "name = 1"),
        )
