"""Tasks that the code calls by name and that a target has not (docs/remote.md), told before a run is handed over.

Read off the sources of the project's tasks; whether a call is ever reached nobody knows, so nothing is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from ..kernel.errors import RunError
from ..submit.deployed import TaskSource
from ..submit.driving import DOMAIN, PROJECT
from .by_name import sources
from .opened import OpenProject

__all__ = ["unserved"]

_CALL = "flyte.remote.Task.get"


def unserved(bench: OpenProject, target: str, deployed: TaskSource) -> list[str]:
    """A line for each call by name, in a task of the project, that would find nothing among what was ``deployed`` to
    ``target`` or in the file, or of which nobody knows yet; by file and line."""
    with bench.modules.entered():
        read = sorted(sources(bench.root))
    own = {task.full_name for task in bench.tasks}
    return [
        f"{path.relative_to(bench.root)}:{line}: `{_CALL}`: {why}"
        for path, text in read
        for line, call in _calls(text)
        if (why := _missing(call, own, target, deployed))
    ]


def _missing(call: ast.Call, own: set[str], target: str, deployed: TaskSource) -> str:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    told = call.args[0] if call.args else given.get("name")
    words = {key: _literal(given.get(key)) for key in ("project", "domain", "version")}
    name = _literal(told)
    if not name or None in words.values():
        return f"which task it means is known once it is called; it has to be deployed to target {target} by then"
    if name in own and not words["version"]:
        return ""
    try:
        where = words["project"] or PROJECT, words["domain"] or DOMAIN
        found = deployed.find(*where, name, words["version"] or "")
    except RunError as e:
        return f"whether {name} was deployed to target {target} cannot be read: {e.message}"
    version = f" of version {words['version']}" if words["version"] else ""
    way = f"`flyte-build deploy --on {target} FILE` does that"
    return "" if found is not None else f"no task {name}{version} was deployed to target {target}, so it fails; {way}"


def _literal(node: ast.expr | None) -> str | None:
    """What the code says; empty where it says nothing, ``None`` where it is known only as it runs."""
    if node is None or (isinstance(node, ast.Constant) and node.value is None):
        return ""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _calls(text: str) -> Iterator[tuple[int, ast.Call]]:
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
            if isinstance(node, ast.Call) and _dotted(node.func, names).removesuffix(".aio") == _CALL:
                yield node.lineno, node


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


def _dotted(node: ast.expr, names: Mapping[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    return f"{_dotted(node.value, names)}.{node.attr}" if isinstance(node, ast.Attribute) else ""
