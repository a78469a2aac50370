"""Nothing below the command line prints: what is known is returned, decisions and progress go to a reporter.

Excepted are the programs that run by themselves, each in a process of its own: the assembler's command and the steps
of other build systems, the way into a sandbox, process 1 in it, a warm worker, a run's driver in its pod, and what
makes the page of settings for its authors; and what ends processes, which sees that all was written.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import flyte_build

PACKAGE = Path(flyte_build.__file__).parent
PROGRAMS = {
    "__main__.py",
    "assemble/__main__.py",
    "assemble/command.py",
    "kernel/exiting.py",
    "native/__main__.py",
    "settings/__main__.py",
    "stepwise/__main__.py",
    "stepwise/command.py",
    "submit/kubernetes/carrying.py",
    "submit/kubernetes/driver.py",
    "submit/sandbox/enter.py",
    "submit/sandbox/init.py",
    "submit/sandbox/outside/main.py",
    "submit/warm/replica.py",
    "submit/shell/inside.py",
    "submit/warm/becoming.py",
    "submit/warm/worker.py",
}
_STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}


def modules() -> list[Path]:
    below = [p for p in sorted(PACKAGE.rglob("*.py")) if p.relative_to(PACKAGE).parts[0] != "cli"]
    return [p for p in below if str(p.relative_to(PACKAGE)) not in PROGRAMS]


def printing(source: str) -> Iterator[str]:
    """What in ``source`` writes to a standard stream, or takes hold of one to write to it."""
    tree = ast.parse(source)
    streams = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "sys"
        for alias in node.names
        if alias.name in _STREAMS
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "pprint"):
            yield f"{node.lineno}: {node.func.id}()"
        elif isinstance(node, ast.Attribute) and node.attr in _STREAMS and isinstance(node.value, ast.Name):
            if node.value.id == "sys":
                yield f"{node.lineno}: sys.{node.attr}"
        elif isinstance(node, ast.Name) and node.id in streams:
            yield f"{node.lineno}: {node.id}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"{node.lineno}: import {n}" for n in names if n.split(".")[0] in ("rich", "click"))


def test_there_is_something_to_look_at() -> None:
    assert len(modules()) > 80


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_is_printed(path: Path) -> None:
    assert list(printing(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "print('x')",
        "import sys\nsys.stdout.write('x')",
        "from sys import stderr as e\ne.write('x')",
        "def f():\n    import rich.console",
        "from click import echo",
    ],
)
def test_the_look_itself_finds_what_prints(source: str) -> None:
    assert list(printing(source))
