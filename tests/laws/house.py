"""The package as it stands: its files, and which of them import which others, read from their text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import flyte_build

PACKAGE = Path(flyte_build.__file__).parent
DOCS = PACKAGE.parent / "docs"


@dataclass(frozen=True, slots=True)
class Arrow:
    """One import: ``importer`` and ``imported`` are modules, ``typing`` if only type checkers follow it."""

    importer: str
    imported: str
    line: int
    typing: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Every module of ``package`` by its full name; a package's name is its ``__init__``'s."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def arrows(package: Path = PACKAGE) -> tuple[Arrow, ...]:
    """Every import of one module of ``package`` by another, wherever in a file it stands."""
    files = modules(package)
    return tuple(arrow for name, path in files.items() for arrow in _of_file(name, path, files))


def _of_file(name: str, path: Path, files: Mapping[str, Path]) -> Iterator[Arrow]:
    here = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node, typing in _imports(ast.parse(path.read_text(encoding="utf-8")), False):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            base = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            targets = [f"{module}.{a.name}" if f"{module}.{a.name}" in files else module for a in node.names]
        yield from (Arrow(name, t, node.lineno, typing) for t in targets if t in files and t != name)


def _imports(node: ast.AST, typing: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, typing
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for statement in child.body:
                yield from _imports(ast.Module([statement], []), True)
            for statement in child.orelse:
                yield from _imports(ast.Module([statement], []), typing)
        elif not isinstance(child, ast.expr):
            yield from _imports(child, typing)


def table() -> dict[str, tuple[str, ...]]:
    """Package → what it may import, from the table of ``docs/architecture.md``, in its order."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \|.*\| ([\w ]*)\|$", text, re.MULTILINE)
    return {package: tuple(stands_on.split()) for package, stands_on in rows}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The sets of nodes that reach each other (Tarjan, 1972), each sorted."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            members = stack[stack.index(node) :]
            del stack[len(stack) - len(members) :]
            if len(members) > 1:
                found.append(sorted(members))

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found
