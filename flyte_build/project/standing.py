"""Who is given a stand-in for what is not installed here, so that a user's file can be read where it cannot run.

While :func:`standing_in` is active, imports that the project's own files make are answered where nothing else answers
them; so are those that the SDK makes on behalf of a file (``FastAPIAppEnvironment`` imports fastapi). Never those of
another installed library (which may ask what is there), never one that the code is prepared to do without, and never a
name that is a module of the project's. Nothing here runs a user's task.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path

from .session import plain_tasks
from .stubs import StandInModule, StandInType

__all__ = ["Standing", "asked_for", "standing_in", "stood_in"]


@dataclass(frozen=True, slots=True)
class Standing:
    """The rules of one project.

    ``owns``: whether a file is the project's; ``sdk``: whether it is the SDK's, of which only plain imports are
    answered. ``is_local``: whether a top-level module is the project's. ``guarded``: whether the import at a line of a
    file may fail without harm (in the SDK: whether it is anything but an import that must not). ``shadows``: whether a
    folder of the project without ``__init__.py``, or a module in it, is not what a file means by its name.
    """

    owns: Callable[[Path], bool]
    sdk: Callable[[Path], bool]
    is_local: Callable[[str], bool]
    guarded: Callable[[Path, int], bool]
    shadows: Callable[[Path, str], bool]


class _Loader(Loader):
    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return StandInModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        spec = module.__spec__
        module.__path__ = list(spec.submodule_search_locations or ()) if spec is not None else []
        module.__all__ = []  # type: ignore[attr-defined]


class _Finder(MetaPathFinder):
    """Last on ``sys.meta_path``: asked only for what nothing else found."""

    def __init__(self, thread: int, rules: Standing) -> None:
        self._thread = thread
        self._rules = rules
        self.names: list[str] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        top = fullname.partition(".")[0]
        if threading.get_ident() != self._thread or top in sys.stdlib_module_names:
            return None
        if self._rules.is_local(top) and top not in self.names:
            return None
        asking = self.asking()
        return self.stand_in(fullname, asking) if asking is not None else None

    def asking(self) -> Path | None:
        """The project's file whose import is in progress, if it is one that is answered."""
        owner = None
        for number, (file, line) in enumerate(_importing()):
            if self._rules.owns(file):
                owner = file
            if number == 0 and ((owner is None and not self._rules.sdk(file)) or self._rules.guarded(file, line)):
                return None
            if owner is not None or not self._rules.sdk(file):
                break
        return owner

    def stand_in(self, fullname: str, asking: Path, folders: Sequence[str] = ()) -> ModuleSpec | None:
        parts = fullname.split(".")
        missing = next((n for i in range(len(parts)) if (n := ".".join(parts[:i])) in _stood), fullname)
        _stood.setdefault(missing, set()).add(asking)
        _asked.setdefault(fullname, set()).add(asking)
        self.names.append(fullname)
        spec = importlib.util.spec_from_loader(fullname, _Loader(), is_package=True)
        if spec is not None:
            spec.submodule_search_locations = list(folders)
        return spec


class _Shadows(MetaPathFinder):
    """First on ``sys.meta_path``: a folder ``fastapi/`` of examples is a package to Python, and not the one meant."""

    def __init__(self, finder: _Finder, rules: Standing) -> None:
        self._finder = finder
        self._rules = rules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        top, _, inner = fullname.partition(".")
        if inner:
            # `mcp.server`, of the library, beside a `mcp/server.py` of the project.
            asking = self._finder.asking() if top in self._finder.names else None
            meant = asking is not None and self._rules.shadows(asking, fullname)
            return self._finder.stand_in(fullname, asking) if asking is not None and meant else None
        if fullname in sys.stdlib_module_names or not self._rules.is_local(fullname):
            return None
        asking = self._finder.asking()
        if asking is None or not (self._by_sdk() or self._rules.shadows(asking, fullname)):
            return None
        found = importlib.machinery.PathFinder.find_spec(fullname)
        if found is None or found.origin is not None or not found.submodule_search_locations:
            return None
        return self._finder.stand_in(fullname, asking, list(found.submodule_search_locations))

    def _by_sdk(self) -> bool:
        """Whether it is the SDK that imports, which never means a folder of the project."""
        file, _ = next(_importing(), (None, 0))
        return file is not None and self._rules.sdk(file) and not self._rules.owns(file)


_stood: dict[str, set[Path]] = {}
"""Module → the files that have its stand-in: they keep it for as long as they are loaded."""
_asked: dict[str, set[Path]] = {}
"""The same with every submodule that was imported by name."""


def _importing() -> Iterator[tuple[Path, int]]:
    """Files and lines from the import in progress outwards, less the frames that are no file's."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        # `<frozen importlib._bootstrap>`, and the `<string>` of a dataclass's constructor.
        ours = frame.f_code.co_filename.startswith("<") or name == __name__
        if not ours and name.partition(".")[0] != "importlib":
            yield Path(frame.f_code.co_filename), frame.f_lineno
        frame = frame.f_back


@contextmanager
def standing_in(rules: Standing) -> Iterator[None]:
    """Answer the imports of this thread that nothing else answers, until the end of the block.

    Afterwards ``sys.modules`` has no stand-in; the user's modules keep theirs.
    """
    finder = _Finder(threading.get_ident(), rules)
    shadows = _Shadows(finder, rules)
    sys.meta_path.append(finder)
    sys.meta_path.insert(0, shadows)
    # A task whose plug-in's configuration is a stand-in is never submitted from here.
    plain_tasks(StandInType)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        sys.meta_path.remove(shadows)
        for name in finder.names:
            if isinstance(sys.modules.get(name), StandInModule):
                del sys.modules[name]
            parent, _, last = name.rpartition(".")
            # Importing `google.cloud` made it an attribute of the real `google`.
            if parent in sys.modules and isinstance(vars(sys.modules[parent]).get(last), StandInModule):
                delattr(sys.modules[parent], last)


def stood_in(owns: Callable[[Path], bool]) -> tuple[str, ...]:
    """The modules that files of the project were loaded with stand-ins of, sorted; their submodules are not listed."""
    return _of(_stood, owns)


def asked_for(owns: Callable[[Path], bool]) -> tuple[str, ...]:
    """The same, with every submodule that was imported by name."""
    return _of(_asked, owns)


def _of(table: dict[str, set[Path]], owns: Callable[[Path], bool]) -> tuple[str, ...]:
    return tuple(sorted(name for name, files in table.items() if any(owns(f) for f in files)))
