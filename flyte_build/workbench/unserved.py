"""What tasks ask of a backend that no target serves (docs/remote.md), told before a run is handed over.

Read off the sources of the project's tasks; whether a call is ever reached nobody knows, so nothing is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from .by_name import sources
from .opened import OpenProject

__all__ = ["unserved"]

_ASKED: Mapping[str, str] = {
    "flyte.run": "tasks start no runs on a target",
    "flyte.with_runcontext": "tasks start no runs on a target",
    "flyte.remote.Task.get": "tasks are not called by name on a target",
}


def unserved(bench: OpenProject) -> list[str]:
    """A line for each call in a task of the project that fails on a target, by file and line."""
    with bench.modules.entered():
        read = sorted(sources(bench.root))
    return [
        f"{path.relative_to(bench.root)}:{line}: `{call}`: {_ASKED[call]}, so the call fails there"
        for path, text in read
        for line, call in _calls(text)
    ]


def _calls(text: str) -> Iterator[tuple[int, str]]:
    if "flyte" not in text:
        return
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    names = dict(_imported(tree))
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or not _is_task(function):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and not _local(node):
                called = _dotted(node.func, names).removesuffix(".aio")
                if called in _ASKED:
                    yield node.lineno, called


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Names of a module, and what of flyte each of them is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                yield (one.asname, one.name) if one.asname else (one.name.partition(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            for one in node.names:
                yield one.asname or one.name, f"{node.module}.{one.name}"


def _is_task(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    found = (d.func if isinstance(d, ast.Call) else d for d in function.decorator_list)
    return any(isinstance(d, ast.Attribute) and d.attr == "task" for d in found)


def _local(call: ast.Call) -> bool:
    """``with_runcontext(mode="local")`` runs in the task's own process."""
    return any(
        k.arg == "mode" and isinstance(k.value, ast.Constant) and k.value.value == "local" for k in call.keywords
    )


def _dotted(node: ast.expr, names: Mapping[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    return f"{_dotted(node.value, names)}.{node.attr}" if isinstance(node, ast.Attribute) else ""
