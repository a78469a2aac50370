"""What code calls that an environment was given as text: it says so by the names of the tasks that came with it.

The text is a whole program of its own, which can call nothing else; so nothing of it has to be guessed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from ....kernel.code_strings import made_at

__all__ = ["calls_in", "made_in"]

_CONDITIONAL = (
    ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.BoolOp, ast.Lambda, ast.FunctionDef,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
)  # fmt: skip


def calls_in(template: object) -> Iterator[tuple[object, bool, int]]:
    """Each of its functions that its text calls, whether this is certain, and the line of the file that it was made in.

    Nothing for any other task.
    """
    functions, text = getattr(template, "_user_functions", None), getattr(template, "_user_source", None)
    made = made_at(template)
    if not isinstance(functions, dict) or not isinstance(text, str) or made is None:
        return
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    found: dict[str, bool] = {}
    for name, sure in _called(tree, True):
        found[name] = found.get(name, False) or sure
    for name, sure in found.items():
        if name in functions:
            yield functions[name], sure, made[1]


def made_in(template: object) -> Path | None:
    """The file in which code was given as text; ``None`` for any other task."""
    made = made_at(template)
    return Path(made[0]) if made is not None else None


def _called(node: ast.AST, sure: bool) -> Iterator[tuple[str, bool]]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        yield node.func.id, sure
    sure = sure and not isinstance(node, _CONDITIONAL)
    for child in ast.iter_child_nodes(node):
        yield from _called(child, sure)
