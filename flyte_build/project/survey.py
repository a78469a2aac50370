"""What Flyte files a folder has, found by reading their text: nothing is imported or run.

A Flyte file says ``import flyte`` (or imports from it) and makes a ``TaskEnvironment``. The root that imports start
from is ``src`` where all Flyte files lie below it and it is no package itself (PyPA, "src layout"), else the folder.
The entry is the one Flyte file that no other imports.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FlyteFile", "Survey", "survey"]

# Folders that hold other people's code, or no code.
_SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages", "dist", "build", "lockfiles"})
# A folder of more Python files than this is no project.
_MOST = 20_000
_LARGEST = 2 << 20


@dataclass(frozen=True, slots=True)
class FlyteFile:
    """``path`` relative to the folder; ``environments`` and ``tasks`` that its text names; ``imports``: modules;
    ``registries``: what its images name as ``registry=``; ``starts``: it runs itself (``flyte.run``, ``__main__``)."""

    path: Path
    environments: tuple[str, ...]
    tasks: int
    imports: frozenset[str]
    registries: tuple[str, ...] = ()
    starts: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """``files`` by path; ``root`` and ``entry`` relative to ``folder``: ``None`` where the folder itself, or no one
    file, is meant. ``ci``: files of CI systems that are there."""

    folder: Path
    files: tuple[FlyteFile, ...]
    root: Path | None
    entry: Path | None
    ci: tuple[Path, ...]
    unread: tuple[Path, ...] = ()

    @property
    def registries(self) -> tuple[str, ...]:
        """Every registry that an image names, the most named first."""
        named = [r for f in self.files for r in f.registries]
        return tuple(sorted(dict.fromkeys(named), key=lambda r: (-named.count(r), r)))


def survey(folder: Path) -> Survey:
    """What ``folder`` (absolute) has. Files that cannot be parsed and speak of flyte are ``unread``."""
    found: list[FlyteFile] = []
    unread: list[Path] = []
    for path in _python_files(folder):
        try:
            text = path.read_bytes()
        except OSError:
            continue
        if b"TaskEnvironment" not in text or b"flyte" not in text:
            continue
        try:
            read = _read(ast.parse(text), path.relative_to(folder))
        except (SyntaxError, ValueError, RecursionError):
            unread.append(path.relative_to(folder))
            continue
        if read is not None:
            found.append(read)
    files = tuple(sorted(found, key=lambda f: f.path))
    root = _root(folder, files)
    return Survey(folder, files, root, _entry(files, root), tuple(_ci(folder)), tuple(sorted(unread)))


def _python_files(folder: Path) -> Iterator[Path]:
    seen = 0
    for here, folders, names in os.walk(folder):
        place = Path(here)
        folders[:] = sorted(
            f
            for f in folders
            if not f.startswith(".") and f not in _SKIPPED and not (place / f / "pyvenv.cfg").exists()
        )
        for name in sorted(names):
            path = place / name
            if name.endswith(".py") and path.is_file() and path.stat().st_size <= _LARGEST:
                yield path
                seen += 1
                if seen >= _MOST:
                    return


def _read(tree: ast.Module, path: Path) -> FlyteFile | None:
    """What the file's syntax says; ``None`` where it makes no environment of flyte's."""
    imports = {name for node in ast.walk(tree) for name in _imported(node)}
    if not any(name == "flyte" or name.startswith("flyte.") for name in imports):
        return None
    environments: list[str] = []
    registries: list[str] = []
    tasks, starts = 0, False
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = _last(node.func)
            if called == "TaskEnvironment":
                environments.append(_text(node, "name") or "?")
            if called in ("from_debian_base", "from_base", "clone", "from_uv_script") and (
                r := _text(node, "registry")
            ):
                registries.append(r)
            starts = starts or (called in ("run", "with_runcontext") and _first(node.func) == "flyte")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            tasks += any(_last(d.func if isinstance(d, ast.Call) else d) == "task" for d in node.decorator_list)
    if not environments:
        return None
    return FlyteFile(path, tuple(environments), tasks, frozenset(imports), tuple(registries), starts)


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        dots = "." * node.level
        yield f"{dots}{node.module or ''}"
        yield from (f"{dots}{node.module + '.' if node.module else ''}{alias.name}" for alias in node.names)


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _first(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else ""


def _text(call: ast.Call, name: str) -> str | None:
    """The text of an argument; for ``name``, also of the first one without a name."""
    for keyword in call.keywords:
        if keyword.arg == name and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str):
            return keyword.value.value
    first = call.args[0] if call.args and name == "name" else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def _root(folder: Path, files: tuple[FlyteFile, ...]) -> Path | None:
    below = bool(files) and all(f.path.parts[0] == "src" and len(f.path.parts) > 1 for f in files)
    return Path("src") if below and not (folder / "src" / "__init__.py").exists() else None


def _entry(files: tuple[FlyteFile, ...], root: Path | None) -> Path | None:
    """The one file that no other Flyte file imports; of several, the one that runs itself, if it is one."""
    names = {f.path: _module(f.path, root) for f in files}
    tops = [
        f
        for f in files
        if not any(other is not f and _reaches(other, names[other.path], names[f.path]) for other in files)
    ]
    if len(tops) != 1:
        starting = [f for f in tops if f.starts]
        tops = starting if len(starting) == 1 else tops
    return tops[0].path if len(tops) == 1 else None


def _module(path: Path, root: Path | None) -> str:
    inside = path.relative_to(root) if root is not None else path
    parts = inside.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _reaches(importer: FlyteFile, own: str, module: str) -> bool:
    """Whether the importer's text imports ``module``, absolutely, relatively, or by its last name from beside it."""
    package = own.split(".")[:-1]
    for name in importer.imports:
        level = len(name) - len(name.lstrip("."))
        full = ".".join([*package[: len(package) - level + 1], name[level:]]).strip(".") if level else name
        if full == module or full.startswith(f"{module}."):
            return True
        if not level and ".".join([*package, name]) == module:
            return True
    return False


def _ci(folder: Path) -> Iterator[Path]:
    for pattern in (".github/workflows/*.yml", ".github/workflows/*.yaml", ".gitlab-ci.yml", "azure-pipelines.yml"):
        for path in sorted(folder.glob(pattern)):
            yield path.relative_to(folder)
