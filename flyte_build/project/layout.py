"""Where the imports of a user's file start when nobody says: the folder below which all of its own code lies.

That is the file's own folder wherever it can be; it is a folder above (the project's, or its ``src``) where the file,
or a module of the project's that it imports, imports from there. The SDK's own commands find it there, too: they start
in the current folder, which is the project's, with the file's folder and what an editable install added. So the answer
is a function of the project's files, not of where one stands. Reads syntax; imports nothing.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..kernel.values import dataclass
from ..settings import stated_root
from .source_files import LocalModule, Sources

__all__ = ["Layout", "imported_files", "layout_of", "starting"]

_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
# Never a project's own, wherever they lie: a checkout of flyte's SDK may be the project.
_NEVER = frozenset({"flyte", "flyte_build", "flyteplugins"})


@dataclass(frozen=True, slots=True)
class Layout:
    """``root``: what imports, relative paths and the code bundle start from. ``search``: further folders below it that
    modules are imported from, in order. All absolute."""

    root: Path
    search: tuple[Path, ...] = ()


def starting(file: Path, said: Path | None = None) -> Layout:
    """The layout of a command about ``file``: ``said`` (as ``--root`` says it) wins over ``root`` of the settings."""
    return layout_of(file, stated_root(file, said))


def layout_of(file: Path, root: Path | None = None) -> Layout:
    """The layout of the project of ``file`` (below ``root``, where that is settled). Never fails: a file that cannot be
    read, or is not there, is one by itself."""
    file = file.absolute()
    folder = file.parent
    top = root if root is not None else project_of(folder)
    if not folder.is_relative_to(top):
        return Layout(top)
    first = root if root is not None else folder
    for place in _above(folder, top):
        # Looked at by name: who records what an answer depended on sees that a module may come to lie there.
        with contextlib.suppress(OSError):
            os.listdir(place)
    found = _Found(first, list(dict.fromkeys([first, folder, *_above(folder, top)])), Sources(top))
    found.follow(file)
    if root is None and not found.needed:
        return Layout(folder)
    base = root if root is not None else Path(os.path.commonpath([folder, *found.needed]))
    beside = [folder] if root is None and found.beside else []
    return Layout(base, tuple(dict.fromkeys(p for p in (*beside, *found.needed) if p != base)))


def imported_files(files: Iterable[Path], root: Path) -> list[Path]:
    """``files`` and all that importing them imports of what lies below ``root``, as ``sys.path`` is now; each once."""
    below = [Path(p) for p in sys.path if p and Path(p) != root and Path(p).is_relative_to(root)]
    places = [root, *(p for p in below if "site-packages" not in p.parts)]
    found = _Found(root, list(dict.fromkeys(places)), Sources(root))
    return list(dict.fromkeys(other for file in files for other in found.follow(file)))


def project_of(folder: Path) -> Path:
    """The nearest folder upwards that is a project's; else the current one, if ``folder`` is below it, else itself."""
    for above in (folder, *folder.parents):
        if any((above / mark).exists() for mark in _MARKS):
            return above
    here = Path.cwd()
    return here if folder.is_relative_to(here) else folder


def _above(folder: Path, top: Path) -> Iterator[Path]:
    """Where else modules may lie: ``src`` beside the file, then each folder upwards to ``top``, and its ``src``."""
    while True:
        if (folder / "src").is_dir():
            yield folder / "src"
        if folder == top:
            return
        folder = folder.parent
        yield folder


class _Found:
    """The places that imports need besides ``first``, in the order found; ``beside``: whether they need that one."""

    def __init__(self, first: Path, places: list[Path], sources: Sources) -> None:
        self.needed: list[Path] = []
        self.beside = False
        self._first = first
        self._places = {place: Sources(place) for place in places}
        self._sources = sources

    def follow(self, file: Path) -> list[Path]:
        """``file`` and everything that importing it imports of the project's, the packages above it included."""
        above = [p / "__init__.py" for p in file.parents if p.is_relative_to(self._sources.root)]
        pending = [file, *(p for p in above if p.is_file())]
        seen = dict.fromkeys(pending)
        while pending:
            current = pending.pop()
            tree = self._sources.tree(current)
            for node in ast.walk(tree) if tree is not None else ():
                for other in self._imported(node, current, current == file):
                    if other not in seen:
                        seen[other] = None
                        pending.append(other)
        return list(seen)

    def _imported(self, node: ast.AST, current: Path, asked: bool) -> list[Path]:
        match node:
            case ast.ImportFrom(level=0, module=str() as module):
                return self._find(module, [a.name for a in node.names])
            case ast.ImportFrom():
                package = current.parents[node.level - 1]
                # The folder of a package that is imported from by dots is no root.
                if asked and package.parent.is_relative_to(self._sources.root) and self._first == current.parent:
                    self.needed.append(package.parent)
                return _files(Sources(package), node.module or "", [a.name for a in node.names])
            case ast.Import():
                return [file for alias in node.names for file in self._find(alias.name, [])]
            case _:
                return []

    def _find(self, module: str, names: list[str]) -> list[Path]:
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top in _NEVER:
            return []
        for place, sources in self._places.items():
            local = sources.find(top)
            files = _files(sources, module, names) if local is not None else []
            if local is None or (local.file is None and not files):
                continue
            if place == self._first:
                self.beside = True
                return files
            if _own(top, local):
                self.needed.append(place)
                return files
        return []


def _files(sources: Sources, module: str, names: list[str]) -> list[Path]:
    parts = module.split(".") if module else []
    # No module is below one that is a file: a library is meant, beside `mcp/server.py` where `mcp.server.x` is asked.
    for i in range(1, len(parts)):
        above = sources.find(".".join(parts[:i]))
        if above is not None and above.file is not None and not above.folders:
            return []
    wanted = [".".join(parts[: i + 1]) for i in range(len(parts))] + [".".join([*parts, n]) for n in names]
    found = [local for name in wanted if (local := sources.find(name)) is not None]
    return [local.file for local in found if local.file is not None and local.file.suffix == ".py"]


def _own(top: str, local: LocalModule) -> bool:
    """Whether what lies in the project is what ``import top`` means, and no library of that name."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return True
    if spec is None or spec.origin is None:
        return True
    held = [*local.folders, *([local.file] if local.file is not None else [])]
    # An editable install is the project's own.
    return any(Path(spec.origin).is_relative_to(place) for place in held)
