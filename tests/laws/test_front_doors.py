"""Every package's ``__init__`` says what it is and what it never does, and offers what it says that it offers."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import types

import pytest

from .house import modules, table

PACKAGES = sorted(name for name, path in modules().items() if path.name == "__init__.py")
STAGES = [f"flyte_build.{name}" for name in table()]


@pytest.mark.parametrize("name", PACKAGES)
def test_what_is_offered_is_there(name: str) -> None:
    package = importlib.import_module(name)
    for offered in getattr(package, "__all__", ()):
        value = getattr(package, offered)
        assert not isinstance(value, types.ModuleType) or offered == "errors", f"{name}.{offered} is a module"
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        package.nothing_of_the_kind  # noqa: B018


@pytest.mark.parametrize("name", PACKAGES)
def test_type_checkers_and_python_are_told_the_same(name: str) -> None:
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    typed = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.If)
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    if typed:
        assert set(importlib.import_module(name).__all__) == typed


@pytest.mark.parametrize("name", STAGES)
def test_a_package_says_what_it_is_and_what_it_never_does(name: str) -> None:
    said = importlib.import_module(name).__doc__ or ""
    first, _, rest = said.strip().partition("\n")
    assert first.endswith((".", ":"))
    assert "ever" in rest, f"{name} does not say what it never does"


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    packages = [f"flyte_build.{name}" for name in table() if name not in ("recipe", "toolchain", "sources")]
    code = f"import sys, importlib\nfor n in {packages}: importlib.import_module(n)\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    ours = {m for m in loaded if m.startswith("flyte_build.")} - set(packages)
    assert ours <= {"flyte_build.kernel.offering"}
    assert not {"flyte", "rich", "click", "httpx"} & set(loaded)
