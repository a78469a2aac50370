"""The modules of one project, put into ``sys.modules`` only for as long as they are needed there.

Two projects may both call a module ``main``, and one that is opened again has to be read again. So what a project's
file imported from its own folder is taken out of ``sys.modules`` when the work is done, and put back for the next piece
of it. What is installed stays. Loads nothing itself.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

__all__ = ["Modules"]

# Python has one sys.modules, so one project at a time is in it.
_guard = threading.RLock()
# Never a project's own, wherever they lie: a checkout of flyte-build may be the project.
_OURS = frozenset({"__main__", "flyte", "flyte_build"})
# By name, those that were once found to be no project's own: of some thousand modules a project has a few.
_settled: dict[str, ModuleType] = {}


class Modules:
    """Those of the project in the folder ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._own: dict[str, ModuleType] = {}
        self._path: list[str] = []
        self._depth = 0

    @contextmanager
    def entered(self) -> Iterator[None]:
        """In the block, the project's modules are importable and nothing else answers to their names; other threads
        that want a project's modules wait."""
        with _guard:
            self._depth += 1
            try:
                if self._depth > 1:
                    yield
                else:
                    with self._swapped():
                        yield
            finally:
                self._depth -= 1

    def stay(self) -> None:
        """Enter for good: for a process that has one project, such as a command line."""
        with _guard:
            self._take()
            sys.modules.update(self._own)
            sys.path[:] = self._path
            self._depth += 1

    @contextmanager
    def _swapped(self) -> Iterator[None]:
        path, others = list(sys.path), self._take()
        sys.modules.update(self._own)
        sys.path[:] = self._path or path
        try:
            yield
        finally:
            self._own = {name: module for name, module in self._take().items() if self._below(module)}
            self._path = list(sys.path)
            sys.modules.update(others)
            sys.path[:] = path

    def _take(self) -> dict[str, ModuleType]:
        """Take out of ``sys.modules`` what lies in this folder, and what has a name that something in it has."""
        found = {
            name: module
            for name, module in list(sys.modules.items())
            if _settled.get(name) is not module and self._claims(name, module)
        }
        for name in found:
            del sys.modules[name]
        return found

    def _claims(self, name: str, module: ModuleType) -> bool:
        top = name.partition(".")[0]
        if top in _OURS or top in sys.stdlib_module_names or _installed(module):
            _settled[name] = module
            return False
        place = os.path.join(self._root, top)
        return self._below(module) or os.path.isfile(f"{place}.py") or os.path.isdir(place)

    def _below(self, module: ModuleType) -> bool:
        return os.path.realpath(_file(module)).startswith(self._root + os.sep)


def _file(module: ModuleType) -> str:
    """Where the module is; a namespace package has only folders. Nothing for what is built in."""
    return getattr(module, "__file__", None) or str(next(iter(getattr(module, "__path__", ())), ""))


def _installed(module: ModuleType) -> bool:
    file = _file(module)
    return not file or "site-packages" in file or "dist-packages" in file
