"""What Nix and Bazel are told apart from the locks is what the derivation's own rules say."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import flyte_build
from flyte_build.assemble.version import ASSEMBLER
from flyte_build.deriving.bytecode import RULES as RULES_OF_BYTECODE
from flyte_build.deriving.conda import LARGE_PACKAGE, MOST_ALONE
from flyte_build.deriving.derivation import LARGE_WHEEL, MAX_LAYERS
from flyte_build.deriving.pythons import PREFIX
from flyte_build.locks.nouns import SCHEMA
from flyte_build.locks.seals import EMPTY
from flyte_build.recipe.conventions import LAYER_CEILING, USER, VENV
from flyte_build.toolchain import builder

PACKAGE = Path(flyte_build.__file__).parent
RULES = PACKAGE.parent / "rules"


def test_the_numbers() -> None:
    assert json.loads((RULES / "layout.json").read_text()) == {
        "lock_schema": SCHEMA,
        "assembler": ASSEMBLER,
        "bytecode_rules": RULES_OF_BYTECODE,
        "venv": VENV,
        "prefix": PREFIX,
        "user": USER,
        "large_wheel": LARGE_WHEEL,
        "large_package": LARGE_PACKAGE,
        "most_alone": MOST_ALONE,
        "max_layers": MAX_LAYERS,
        "layer_ceiling": LAYER_CEILING,
        "empty_layer": EMPTY,
    }


def modules(start: Path) -> set[Path]:
    """The files of this package that ``start`` imports when it runs, and those that they import, but for imports in
    functions and for type checkers."""
    found: set[Path] = set()
    todo = [start]
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        todo += [folder / "__init__.py" for folder in path.parents if folder.is_relative_to(PACKAGE)]
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                names = [folder / alias.name for alias in node.names] + [folder]
                todo += [p for n in names for p in (n.with_suffix(".py"), n / "__init__.py") if p.is_file()]
    return found


def test_nix_is_given_every_module_that_the_steps_import() -> None:
    """Folders are listed in sources.nix; a module in another folder would be missing in the sandbox."""
    folders = set(re.findall(r'"(flyte_build(?:/\w+)*)"', (RULES / "nix" / "sources.nix").read_text()))
    needed = modules(PACKAGE / "stepwise" / "command.py") | modules(PACKAGE / "stepwise" / "__main__.py")
    assert PACKAGE / "deriving" / "derivation.py" in needed
    given = {PACKAGE.parent / folder for folder in folders}
    assert {str(p.relative_to(PACKAGE)) for p in needed if p.parent not in given} == set()


def test_the_interpreter_is_one_of_these_builders() -> None:
    """pip and what verifies TLS are there, on every platform, and no wheels: it is Debian's alone."""
    lock = builder()
    for locked in lock.platforms.values():
        names = {deb.name for deb in locked.debs}
        assert {f"python{lock.python}", "python3-pip", "ca-certificates", "libc6", "libssl3"} <= names
        assert locked.wheels == ()
    assert sorted(lock.platforms) == ["linux/amd64", "linux/arm64"]
