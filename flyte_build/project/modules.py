"""The modules of one project, put into ``sys.modules`` only for as long as they are needed there.

Two projects may both call a module ``main``, and one that is opened again has to be read again. So what a project's
file imported from its own folder is taken out of ``sys.modules`` when the work is done, and put back for the next piece
of it. What is installed stays. Loads nothing itself.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

__all__ = ["Modules"]

# Python has one sys.modules, so one project at a time is in it.
_guard = threading.RLock()
# Never a project's own, wherever they lie: a checkout of flyte-build may be the project.
_OURS = frozenset({"__main__", "flyte", "flyte_build"})
# By name, where a module was found to lie; nothing for one that is no project's own, as nearly all of them are.
_places: dict[str, tuple[weakref.ref[ModuleType], str]] = {}


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
            self._own = {
                name: module for name, module in self._take().items() if self._holds(os.path.realpath(_file(module)))
            }
            self._path = list(sys.path)
            sys.modules.update(others)
            sys.path[:] = path

    def _take(self) -> dict[str, ModuleType]:
        """Take out of ``sys.modules`` what lies in this folder, and what has a name that something in it has."""
        named: dict[str, bool] = {}
        found = {name: module for name, module in list(sys.modules.items()) if self._claims(name, module, named)}
        for name in found:
            del sys.modules[name]
        return found

    def _claims(self, name: str, module: ModuleType, named: dict[str, bool]) -> bool:
        """``named``: by top-level name, whether the folder has something of that name."""
        place = _place(name, module)
        if not place or self._holds(place):
            return bool(place)
        top = name.partition(".")[0]
        if top not in named:
            at = os.path.join(self._root, top)
            named[top] = os.path.isfile(f"{at}.py") or os.path.isdir(at)
        return named[top]

    def _holds(self, place: str) -> bool:
        return place.startswith(self._root + os.sep)


def _place(name: str, module: ModuleType) -> str:
    """Where the module really is, looked up once; nothing for one that is no project's own."""
    known = _places.get(name)
    if known is not None and known[0]() is module:
        return known[1]
    top = name.partition(".")[0]
    theirs = top in _OURS or top in sys.stdlib_module_names or _installed(module)
    place = "" if theirs else os.path.realpath(_file(module))
    with suppress(TypeError):  # whatever else somebody put into sys.modules
        _places[name] = weakref.ref(module), place
    return place


def _file(module: ModuleType) -> str:
    """Where the module is; a namespace package has only folders. Nothing for what is built in."""
    if file := getattr(module, "__file__", None):
        return str(file)
    folders = getattr(module, "__path__", ())
    try:
        return str(next(iter(folders), ""))
    except (KeyError, AttributeError):
        # What tells a namespace package's folders anew, the package above it, is not loaded just now, or must not be.
        return str(next(iter(getattr(folders, "_path", ())), ""))


def _installed(module: ModuleType) -> bool:
    file = _file(module)
    return not file or "site-packages" in file or "dist-packages" in file
