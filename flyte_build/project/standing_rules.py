"""The rules of who is given a stand-in, read off the sources of a project (and of the SDK): syntax only.

See :mod:`.standing` for what they are for.
"""

from __future__ import annotations

import ast
import functools
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import flyte

from .conditions import Target
from .source_files import Sources
from .standing import Standing
from .statements import Import, collect, guarded_lines

__all__ = ["rules_of"]

_SDK = os.path.dirname(os.path.abspath(flyte.__file__))


def rules_of(root: Path, search: Iterable[Path] = ()) -> Standing:
    """The rules for the project below ``root``, with ``search`` and what is on ``sys.path`` now."""
    sources = Sources(root, [*search, *map(Path, sys.path)])

    def sdk(file: Path) -> bool:
        return file.is_relative_to(_SDK)

    @functools.cache
    def lines(file: Path) -> frozenset[int]:
        tree = sources.tree(file)
        if tree is None:
            return frozenset()
        return frozenset(i.line for i in _imports(tree) if not i.optional) if sdk(file) else guarded_lines(tree)

    def guarded(file: Path, line: int) -> bool:
        return (line in lines(file)) is not sdk(file)

    def shadows(file: Path, name: str) -> bool:
        local, tree = sources.find(name), sources.tree(file)
        if "." in name:
            return tree is not None and local is not None and _has_parts(tree, name, sources)
        if local is None or local.file is not None or tree is None:
            return False
        return _means_another(tree, name, lambda module: sources.find(module) is not None)

    return Standing(sources.owns, sdk, lambda name: sources.find(name) is not None, guarded, shadows)


def _imports(tree: ast.Module) -> list[Import]:
    """Every import of a file, in whatever function it is."""
    found: list[Import] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef):
            found += collect(node.body, "", Target())[0]
    return found


def _has_parts(tree: ast.Module, name: str, sources: Sources) -> bool:
    """Whether the file imports modules below the module ``name`` that the one of the project has not."""
    named = {i.module for i in _imports(tree)}
    return any(module.startswith(f"{name}.") and sources.find(module) is None for module in named)


def _means_another(tree: ast.Module, name: str, has: Callable[[str], bool]) -> bool:
    """Whether the file uses something of the top-level package ``name`` that the folder of that name does not hold."""
    aliases: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str() as module, level=0) if module.partition(".")[0] == name:
                # From a module that is there one takes what it defines; the folder itself defines nothing.
                if not has(module) or (module == name and not all(has(f"{name}.{a.name}") for a in node.names)):
                    return True
            case ast.Import():
                for alias in node.names:
                    if alias.name.partition(".")[0] == name:
                        if not has(alias.name):
                            return True
                        aliases.add(alias.asname or name)
            case _:
                continue
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in aliases
        and not has(f"{name}.{node.attr}")
        for node in ast.walk(tree)
    )
