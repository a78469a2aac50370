"""The assembler runs by itself: the standard library only, no network, no clock, wherever it is copied to."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flyte_build.assemble
from tests.support.layers import write_plan
from tests.support.wheels import build_wheel

ASSEMBLE = Path(flyte_build.assemble.__file__).parent
MODULES = sorted(ASSEMBLE.rglob("*.py"))

# What would let the output depend on anything but the inputs, or reach beyond this machine.
FORBIDDEN = {
    "asyncio",
    "ctypes",
    "datetime",
    "ftplib",
    "getpass",
    "http",
    "locale",
    "platform",
    "pwd",
    "random",
    "secrets",
    "socket",
    "ssl",
    "subprocess",
    "time",
    "urllib",
    "uuid",
}


def imports(path: Path) -> set[str]:
    """Top-level names that the module imports, at any depth; relative imports must stay inside."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                found.add((node.module or "").partition(".")[0])
            else:
                assert node.level == 1, f"{path.name}:{node.lineno} leaves the folder"
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_only_the_standard_library(path: Path) -> None:
    # `_sha2` is Python 3.12's name of `_sha256`.
    assert imports(path) <= {*sys.stdlib_module_names, "_sha2"}
    assert not imports(path) & FORBIDDEN


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_environment_variable_is_read(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"environ", "environb", "getenv"}, f"{path.name}:{node.lineno}"


def test_it_imports_nothing_else_when_it_runs(tmp_path: Path) -> None:
    """Every module it loads comes from the standard library or from its own folder, copied on its own."""
    copy = tmp_path / "assemble"
    shutil.copytree(ASSEMBLE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    arguments = write_plan(tmp_path / "in", [build_wheel(tmp_path, "fold")])
    command = [sys.executable, "-I", "-S", "-v", str(copy), arguments[0], str(tmp_path / "out"), *arguments[1:]]
    done = subprocess.run(command, env={}, cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout.startswith("sha256:")
    loaded = {line.split("'")[1] for line in done.stderr.splitlines() if line.startswith("import '")}
    foreign = {name for name in loaded if name.partition(".")[0] not in {*sys.stdlib_module_names, "__main__"}}
    assert {name.partition(".")[0] for name in foreign} == {"flyte_build_assemble"}


def test_help_says_what_exit_codes_mean() -> None:
    command = [sys.executable, "-I", "-S", str(ASSEMBLE), "--help"]
    shown = subprocess.run(command, env={}, capture_output=True, text=True, check=True).stdout
    assert "exit codes:" in shown
