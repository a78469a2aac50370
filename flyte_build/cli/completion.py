"""What a shell completes, found without importing the user's file: its text is read, never run.

A completion answers while a person types, so whatever cannot be read is simply not offered. Nothing is printed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

__all__ = [
    "OUTPUT_FORMS",
    "complete_action",
    "complete_arguments",
    "complete_environment",
    "complete_output",
    "complete_package",
    "complete_platform",
    "complete_run",
    "complete_target",
    "complete_task",
]

OUTPUT_FORMS = {
    "oci": "OCI image layout",
    "oci-archive": "OCI image layout in a tar",
    "docker-archive": "archive for `docker load`",
}
"""What ``--output`` writes, by the form's name."""

# Files that are read for one completion; a project may import itself without end.
_FILES = 50


def complete_task(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The tasks of FILE, and of what it imports from its own folder."""
    return _items({node.name: _summary(node) for node in _tasks(_file(ctx))}.items(), incomplete)


def complete_environment(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The environments that FILE's text names."""
    names = {name: "" for tree in _trees(_file(ctx)) for name in _environments(tree)}
    return _items(names.items(), incomplete)


def complete_platform(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _items([("linux/amd64", ""), ("linux/arm64", ""), ("all", "every platform the images are for")], incomplete)


def complete_output(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The forms, then the folders there are; where a file is to be written, its neighbours, too."""
    form, colon, typed = incomplete.partition(":")
    if not colon:
        return _items(((f"{form}:", text) for form, text in OUTPUT_FORMS.items()), incomplete)
    if form not in OUTPUT_FORMS:
        return []
    above = Path(typed) if typed.endswith("/") or not typed else Path(typed).parent
    try:
        found = sorted(p for p in above.iterdir() if form != "oci" or p.is_dir())
    except OSError:
        return []
    return _items(((f"{form}:{path}", "") for path in found), incomplete)


def complete_package(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The packages of the locks of the folder above, which is where they lie unless somebody says otherwise."""
    import re

    names: dict[str, str] = {}
    for path in sorted(Path("lockfiles").glob("*.json"))[:_FILES]:
        with suppress(OSError, UnicodeDecodeError):
            rows = re.findall(r'^\s*\{"name": "([^"]+)", "version": "([^"]+)"', path.read_text("utf-8"), re.MULTILINE)
            names |= dict(rows)
    return _items(sorted(names.items()), incomplete)


def complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The runs there are, the newest first."""
    from ..kernel.paths import runs_dir

    try:
        found = sorted((p.parent.name for p in runs_dir().glob("*/run.json")), reverse=True)
    except OSError:
        return []
    return _items(((name, "") for name in found), incomplete)


def complete_action(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The tasks that RUN called, then its actions' names."""
    from ..kernel.errors import FlyteBuildError
    from ..workbench import kept_run

    try:
        actions = kept_run(ctx.params.get("run") or "").actions
    except (FlyteBuildError, OSError):
        return []
    tasks = {a.task: "all its calls" for a in actions if a.task}
    return _items([*tasks.items(), *((a.name, a.task) for a in actions)], incomplete)


def complete_target(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The targets of the settings, and where each is."""
    from ..kernel.errors import FlyteBuildError
    from ..settings import read_settings

    try:
        stated = read_settings(Path.cwd()).targets
    except FlyteBuildError:
        return []
    return _items(((t.name, f"namespace {t.table['namespace']}") for t in stated), incomplete)


def complete_arguments(ctx: click.Context, param: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """The options of TASK's parameters."""
    flags: dict[str, str] = {}
    for node in _tasks(_file(ctx)):
        if node.name == str(ctx.params.get("task")).rpartition(".")[2]:
            for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
                kind = ast.unparse(argument.annotation) if argument.annotation else ""
                flags[f"--{argument.arg.replace('_', '-')}"] = kind
            flags["--help"] = "what the task takes"
            break
    return _items(flags.items(), incomplete)


def _file(ctx: click.Context) -> Any:
    """FILE, or the settings'. Where an option still wants its value, click has not yet told the words apart."""
    from ..kernel.errors import FlyteBuildError
    from ..settings import default_file

    found = ctx.params.get("file") or next((word for word in ctx.args if word.endswith(".py")), None)
    if found is None:
        with suppress(FlyteBuildError):
            return default_file(Path.cwd())
    return found


def _items(found: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(value, help=text or None) for value, text in found if value.startswith(incomplete)]


def _trees(file: Any) -> Iterator[ast.Module]:
    """The syntax of ``file`` and of the modules it imports that lie in its own folder."""
    if not isinstance(file, str | Path):
        return
    root = Path(file).absolute().parent
    pending, seen = [Path(file).absolute()], set[Path]()
    while pending and len(seen) < _FILES:
        path = pending.pop(0)
        if path in seen:
            continue
        seen.add(path)
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        yield tree
        pending += [p for name in _imports(tree) for p in _places(root, name) if p.is_file()]


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _places(root: Path, module: str) -> tuple[Path, Path]:
    base = root.joinpath(*module.split("."))
    return base.with_suffix(".py"), base / "__init__.py"


def _tasks(file: Any) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for tree in _trees(file):
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(map(_is_task, node.decorator_list)):
                yield node


def _is_task(decorator: ast.expr) -> bool:
    named = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(named, ast.Attribute) and named.attr == "task"


def _summary(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


def _environments(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("TaskEnvironment"):
            given = [*node.args[:1], *(k.value for k in node.keywords if k.arg == "name")]
            yield from (v.value for v in given if isinstance(v, ast.Constant) and isinstance(v.value, str))
