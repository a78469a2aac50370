"""The one table: every key, the same in the dataclass, on the page, in the schema and in the messages."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path
from typing import Any

import click
import pytest

import flyte_build
from flyte_build.cli.app import cli
from flyte_build.kernel.errors import InputError
from flyte_build.settings import Settings, read_settings
from flyte_build.settings.table import TABLE, Setting
from flyte_build.settings.targets import StatedTarget
from flyte_build.settings.variables import VARIABLES

PACKAGE = Path(flyte_build.__file__).parent
ROOT = PACKAGE.parent
WITH_VARIABLE = [s for s in TABLE.values() if s.variable]
WITH_OPTION = [s for s in TABLE.values() if s.option]

DOCUMENTED = {s.variable for s in WITH_VARIABLE} | {name for v in VARIABLES for name in v.names}
_VARIABLE = re.compile(r"(?<![A-Z_])FLYTE_BUILD_[A-Z_]*[A-Z]")


def test_the_dataclass_has_what_the_table_has() -> None:
    assert {s.field: s.default for s in TABLE.values()} == {f.name: f.default for f in dataclasses.fields(Settings)}
    assert Settings() == read_settings(Path("/"), {})


@pytest.mark.parametrize("setting", TABLE.values(), ids=lambda s: s.key)
def test_a_row_says_what_its_reader_needs(setting: Setting) -> None:
    assert 1 <= len(re.findall(r"\.(?: |$)", setting.says)) <= 2
    assert setting.says.endswith(".")
    assert setting.otherwise or setting.default is not None
    assert bool(setting.choices) == (setting.kind == "choice")
    assert setting.see is None or (ROOT / "docs" / setting.see).is_file()


@pytest.mark.parametrize("setting", TABLE.values(), ids=lambda s: s.key)
def test_the_example_is_read_and_changes_something(tmp_path: Path, setting: Setting) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.flyte-build]\n{setting.key} = {setting.example}\n")
    assert getattr(read_settings(tmp_path, {}), setting.field) != setting.default


# Per kind: what the file says, the variable and the command line, and what each means.
SAID: dict[str, tuple[str, str, Any, Any, Any, Any]] = {
    "text": ('"f"', "v", "o", "f", "v", "o"),
    "texts": ('["f"]', "v w", ("o",), ("f",), ("v", "w"), ("o",)),
    "flag": ("false", "yes", False, False, True, False),
    "choice": ('"refuse"', "delegate", "refuse", "refuse", "delegate", "refuse"),
    "folder": ('"f"', "v", Path("o"), "f", "v", "o"),
    "file": ('"f"', "v", Path("o"), "f", "v", "o"),
    "files": ('["f"]', "v", ("o",), "f", "v", "o"),
    "size": ('"1Ki"', "1.5k", "2M", 1024, 1500, 2_000_000),
    "count": ("3", "4", 5, 3, 4, 5),
    "age": ('"7 days"', "", "2w", "7 days", None, "2w"),
    "ages": ('{ f = "none" }', "", {"o": "P2D"}, (("f", "none"),), None, (("o", "P2D"),)),
    "targets": (
        '{ f = { namespace = "f", storage = "f" } }',
        "",
        {"o": {"namespace": "o", "storage": "o"}},
        (StatedTarget("f", {"namespace": "f", "storage": "f"}),),
        None,
        (StatedTarget("o", {"namespace": "o", "storage": "o"}),),
    ),
    "key": ('"env://f"', "env://v", "env://o", "env://f", "env://v", "env://o"),
}


@pytest.mark.parametrize("setting", TABLE.values(), ids=lambda s: s.key)
def test_the_command_line_wins_over_the_variable_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: Setting
) -> None:
    project, cwd = tmp_path / "project", tmp_path / "cwd"
    project.mkdir()
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    in_file, in_variable, on_line, *means = SAID[setting.kind]
    if setting.key == "base":
        in_file, on_line, means = '"registry"', "debian", ["registry", "", "debian"]
    if setting.key == "bytecode":
        in_file, on_line, means = '"layer"', "none", ["layer", "", "none"]
    if setting.key in ("network", "seal-network"):
        in_file, in_variable, on_line, means = '"none"', "host", "internet", ["none", "host", "internet"]
    if setting.key == "checks":
        in_variable, means = "off", ["refuse", "off", "refuse"]
    if setting.key == "overlaps":
        in_variable, means = "allow", ["refuse", "allow", "refuse"]
    if setting.key == "pin":
        in_file, on_line, means = '"never"', "on-push", ["never", "", "on-push"]
    if setting.kind in ("folder", "file"):
        means = [project / means[0], cwd / means[1], cwd / means[2]]
    if setting.kind == "files":
        means = [(project / means[0],), (cwd / means[1],), (cwd / means[2],)]
    (project / "pyproject.toml").write_text(f"[tool.flyte-build]\n{setting.key} = {in_file}\n")

    def value(environ: dict[str, str], said: Any = None) -> Any:
        return getattr(read_settings(project, environ, {setting.key: said}), setting.field)

    assert value({}) == means[0]
    assert value({}, on_line) == means[2]
    if setting.variable:
        assert value({setting.variable: in_variable}) == means[1]
        assert value({setting.variable: in_variable}, on_line) == means[2]
        assert value({setting.variable: ""}) == means[0]


def test_what_is_wrong_on_the_command_line_is_named_by_its_option(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--registry: registry: expected a string, found 3"):
        read_settings(tmp_path, {}, {"registry": 3})


@pytest.mark.parametrize("key", ["root", "file", "lockfiles"])
@pytest.mark.parametrize(("value", "found"), [('""', "''"), ("3", "3"), ('["a"]', r"\['a'\]"), ("true", "True")])
def test_a_path_is_a_string(tmp_path: Path, key: str, value: str, found: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.flyte-build]\n{key} = {value}\n")
    with pytest.raises(
        InputError, match=rf"pyproject.toml: \[tool.flyte-build\]: {key}: expected a string, found {found}"
    ):
        read_settings(tmp_path, {})


def test_every_variable_in_the_code_is_documented() -> None:
    texts = (p.read_text(encoding="utf-8") for p in PACKAGE.rglob("*.py"))
    found = {name for text in texts for name in _VARIABLE.findall(text)}
    assert found - DOCUMENTED - {"FLYTE_BUILD_REGISTRY"} == set()


def test_every_variable_of_the_command_lines_help_is_documented() -> None:
    epilog = cli.epilog or ""
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", epilog.partition("Environment:")[2].partition("Shell")[0]))
    assert len(named) > 10
    assert named - DOCUMENTED == set()


def test_every_documented_variable_is_in_the_code() -> None:
    files = [p for p in PACKAGE.rglob("*.py") if "settings" not in p.parts] + list((ROOT / "rules").rglob("*.bzl"))
    text = "\n".join(p.read_text(encoding="utf-8") for p in files)
    ours = {name for v in VARIABLES for name in v.names if name.startswith("FLYTE_BUILD_")}
    assert {name for name in ours if not re.search(rf"{name}\b|{name}{{", text)} == set()


def _options(command: click.Command, context: click.Context) -> set[str]:
    found = {
        name for p in command.params for name in (p.opts if isinstance(p, click.Option) else [p.make_metavar(context)])
    }
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            found |= _options(below, click.Context(below, parent=context))
    return found


def test_every_option_of_the_table_is_one_of_the_command_line() -> None:
    known = _options(cli, click.Context(cli))
    assert {s.option for s in WITH_OPTION if s.option != "FILE"} - known == set()
    assert any("FILE" in name for name in known)


def test_settings_stand_on_the_kernel_alone() -> None:
    for path in (PACKAGE / "settings").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                assert (node.module or "").split(".")[0] == "kernel", path
            if isinstance(node, ast.ImportFrom | ast.Import) and not getattr(node, "level", 0):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                assert not [n for n in names if n.startswith("flyte")], path
