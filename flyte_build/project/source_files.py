"""The project's own source files: which module is which file, and each file's syntax tree, parsed once.

A module is the project's own when the import system would find it below the root (or a folder below it that the
project itself put on ``sys.path``) before it looks anywhere else: packages, namespace packages (PEP 420) and single
files. Reads files, imports nothing.
"""

from __future__ import annotations

import ast
import os
import tokenize
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import TypeAlias

__all__ = ["Function", "LocalModule", "Sources", "Unreadable", "own_nodes", "parts_of_if"]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_INSTALLED = {"site-packages", "dist-packages"}
_EXTENSION = ".so"


@dataclass(frozen=True, slots=True)
class LocalModule:
    """A module of the project. ``file`` is ``None`` for a namespace package, ``folders`` is empty for a single file."""

    name: str
    file: Path | None
    folders: tuple[Path, ...]

    @property
    def package(self) -> str:
        """What relative imports in it start from."""
        return self.name if self.folders else self.name.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file of the project that is no Python this machine can read."""

    file: Path
    line: int
    reason: str


class Sources:
    """The files below ``root``. ``search`` are further folders of ``sys.path``; those not below the root are left out.

    ``parses`` counts the files that were parsed.
    """

    def __init__(self, root: Path, search: Iterable[Path] = ()) -> None:
        self.root = root.absolute()
        inside = [p for p in search if self.owns(p / "x.py") and p != self.root]
        self.search: tuple[Path, ...] = tuple(dict.fromkeys([self.root, *inside]))
        self.parses = 0
        self.unreadable: dict[Path, Unreadable] = {}
        self._trees: dict[Path, ast.Module | None] = {}
        self._functions: dict[Path, dict[tuple[int, str], list[Function]]] = {}
        self._modules: dict[str, LocalModule | None] = {}
        self._names: dict[Path, LocalModule | None] = {}

    def owns(self, file: Path) -> bool:
        """Whether ``file`` is the project's: below the root and not in an installation that lies there."""
        return file.is_relative_to(self.root) and not _INSTALLED.intersection(file.relative_to(self.root).parts)

    def show(self, file: Path) -> str:
        """``file`` relative to the root, as findings name it."""
        return file.relative_to(self.root).as_posix() if file.is_relative_to(self.root) else str(file)

    # -- trees -------------------------------------------------------------------------------------

    def tree(self, file: Path) -> ast.Module | None:
        """The syntax tree of ``file``; ``None``, and an entry in ``unreadable``, where there is none."""
        if file not in self._trees:
            self.parses += 1
            self._trees[file] = self._parse(file)
        return self._trees[file]

    def _parse(self, file: Path) -> ast.Module | None:
        try:
            with tokenize.open(file) as f:
                text = f.read()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(text, str(file))
        except SyntaxError as e:
            self.unreadable[file] = Unreadable(file, e.lineno or 0, e.msg)
        except (OSError, UnicodeError, ValueError, RecursionError) as e:
            self.unreadable[file] = Unreadable(file, 0, str(e))
        return None

    def function(self, code: CodeType) -> list[Function]:
        """The definitions that ``code`` may have been compiled from: one, or all lambdas that start on its line."""
        file = Path(code.co_filename)
        if file not in self._functions:
            tree = self.tree(file) if self.owns(file) else None
            index: dict[tuple[int, str], list[Function]] = {}
            for node in ast.walk(tree) if tree is not None else ():
                if isinstance(node, ast.Lambda):
                    index.setdefault((node.lineno, "<lambda>"), []).append(node)
                elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                    index.setdefault((first, node.name), []).append(node)
            self._functions[file] = index
        return self._functions[file].get((code.co_firstlineno, code.co_name), [])

    # -- modules -----------------------------------------------------------------------------------

    def find(self, name: str) -> LocalModule | None:
        """The module of the project that ``import name`` gives; ``None`` where the name is not the project's."""
        if name not in self._modules:
            self._modules[name] = self._find(name)
        return self._modules[name]

    def _find(self, name: str) -> LocalModule | None:
        parent, _, last = name.rpartition(".")
        if not last.isidentifier():
            return None
        folders: Sequence[Path] = self.search
        if parent:
            package = self.find(parent)
            folders = package.folders if package is not None else ()
        portions: list[Path] = []
        for folder in folders:
            here = folder / last
            if (here / "__init__.py").is_file():
                return LocalModule(name, here / "__init__.py", (here,))
            for file in (folder / f"{last}.py", *self._extensions(folder, last)):
                if file.is_file():
                    return LocalModule(name, file, ())
            if _has_modules(here):
                portions.append(here)
        return LocalModule(name, None, tuple(portions)) if portions else None

    def _extensions(self, folder: Path, name: str) -> list[Path]:
        return [*sorted(folder.glob(f"{name}.*{_EXTENSION}")), folder / f"{name}{_EXTENSION}"]

    def of(self, file: Path) -> LocalModule | None:
        """The module that ``file`` is, by the shortest name it can be imported under."""
        if file not in self._names:
            candidates = []
            for folder in self.search:
                if file.is_relative_to(folder):
                    parts = list(file.relative_to(folder).with_suffix("").parts)
                    if parts[-1] == "__init__":
                        parts.pop()
                    found = self.find(".".join(parts)) if parts else None
                    if found is not None and found.file == file:
                        candidates.append(found)
            self._names[file] = min(candidates, key=lambda m: (m.name.count("."), m.name), default=None)
        return self._names[file]


def _has_modules(folder: Path, depth: int = 3) -> bool:
    """Whether a folder without ``__init__.py`` is a namespace package, and not just data of that name."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return False
    if any(e.name.endswith((".py", _EXTENSION)) for e in entries):
        return True
    inner = (e for e in entries if depth and e.name.isidentifier() and e.is_dir())
    return any(_has_modules(Path(e.path), depth - 1) for e in inner)


def own_nodes(
    body: Iterable[ast.AST], skip: Callable[[ast.AST], Iterable[ast.AST] | None] = lambda _: None
) -> Iterator[ast.AST]:
    """The nodes that run when ``body`` runs: not the bodies of functions defined there, but their decorators and
    defaults. ``skip`` may give the only children of a node that are to be visited."""
    pending = list(body)[::-1]
    while pending:
        node = pending.pop()
        yield node
        chosen = skip(node)
        if chosen is not None:
            children: Iterable[ast.AST] = chosen
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            children = (*node.decorator_list, *_defaults(node.args))
        elif isinstance(node, ast.Lambda):
            children = _defaults(node.args)
        elif isinstance(node, ast.ClassDef):
            children = (*node.decorator_list, *node.bases, *(k.value for k in node.keywords), *node.body)
        else:
            children = ast.iter_child_nodes(node)
        pending.extend(reversed(list(children)))


def _defaults(arguments: ast.arguments) -> list[ast.AST]:
    return [d for d in (*arguments.defaults, *arguments.kw_defaults) if d is not None]


def parts_of_if(node: ast.If, holds: bool | None) -> list[ast.stmt]:
    """The branches of ``node`` that may run when its condition is known to ``hold``, is known not to, or is unknown."""
    if holds is None:
        return [*node.body, *node.orelse]
    return node.body if holds else node.orelse
