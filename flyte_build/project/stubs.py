"""Stand-ins for modules that are not installed here, so that a user's file can be read where it cannot run.

While :func:`standing_in` is active, a module of the user's that imports something not installed on this machine gets a
module whose every attribute is a class that can be called, subclassed, subscripted, calculated with, entered, and used
as a decorator. Only imports that the project's own files make are answered, never those of an installed library (which
may ask what is there), never one that the user's code is prepared to do without, and never a name that is the
project's. Nothing here runs a user's task.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
import types
import typing
from abc import ABCMeta
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

__all__ = ["is_stand_in", "stand_ins_in", "standing_in", "stood_in"]

_ERRORS = ("Error", "Exception", "Warning", "Interrupt")
_KNOWN = {"__version__": "0", "__doc__": None}


class _Meta(ABCMeta):
    """The type of every stand-in: what they answer to operators, attributes and calls.

    An abstract metaclass, so that ``class A(torch.nn.Module, ABC)`` has no metaclass conflict. A user's own class that
    derives from a stand-in behaves as a class of theirs.
    """

    def __getattr__(cls, name: str) -> Any:
        if name in _KNOWN:
            return _KNOWN[name]
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        made = _stand_in(f"{cls.__module__}.{cls.__qualname__}" if is_stand_in(cls) else "a stand-in", name)
        if is_stand_in(cls):
            type.__setattr__(cls, name, made)
        return made

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if not is_stand_in(cls):
            return super().__call__(*args, **kwargs)
        if len(args) == 1 and _is_decorated(args[0]):
            return args[0]
        return _stand_in(cls.__module__, f"{cls.__qualname__}()")

    def __getitem__(cls, key: Any) -> Any:
        return cls

    def __setitem__(cls, key: Any, value: Any) -> None:
        return None

    def __iter__(cls) -> Iterator[Any]:
        return iter(())

    def __len__(cls) -> int:
        return 0

    def __bool__(cls) -> bool:
        return True

    def __contains__(cls, item: Any) -> bool:
        return False

    def __index__(cls) -> int:
        return 0

    def __int__(cls) -> int:
        return 0

    def __float__(cls) -> float:
        return 0.0

    def __lt__(cls, other: Any) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __lt__

    def __enter__(cls) -> Any:
        return cls

    def __exit__(cls, *exc: Any) -> None:
        return None

    async def __aenter__(cls) -> Any:
        return cls

    async def __aexit__(cls, *exc: Any) -> None:
        return None

    def __repr__(cls) -> str:
        return f"<stand-in for {cls.__module__}.{cls.__qualname__}>" if is_stand_in(cls) else super().__repr__()


def _same(cls: Any, *others: Any) -> Any:
    return cls


def _union(cls: Any, other: Any) -> Any:
    return typing.Union[cls, other]  # noqa: UP007 (this is what the operator is made of)


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lshift", "rshift", "and", "xor")
_UNARY = ("neg", "pos", "invert", "abs", "round", "trunc")
for _name in (*_BINARY, *(f"r{n}" for n in _BINARY), *_UNARY):
    setattr(_Meta, f"__{_name}__", _same)
for _name in ("or", "ror"):
    setattr(_Meta, f"__{_name}__", _union)


class _Base(metaclass=_Meta):
    """What a user's class inherits from a stand-in: takes any arguments, and has any attribute."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        return None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return _stand_in("a stand-in", name)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.any_schema()


def _stand_in(module: str, name: str) -> _Meta:
    bases: tuple[type, ...] = (_Base, Exception) if name.endswith(_ERRORS) else (_Base,)
    own = {"__module__": module, "__qualname__": name, "__stand_in__": True, "__slots__": ()}
    made = _Meta(name, bases, own)
    assert isinstance(made, _Meta)
    return made


def _is_decorated(value: Any) -> bool:
    """Whether a call with ``value`` alone reads as decorating it: a function, a class, a task."""
    if is_stand_in(value):
        return False
    return isinstance(value, types.FunctionType | type) or hasattr(type(value), "native_interface")


class _Module(types.ModuleType):
    """A module that has everything that is asked of it."""

    def __getattr__(self, name: str) -> Any:
        if name in _KNOWN:
            return _KNOWN[name]
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(f"module {self.__name__!r} (a stand-in) has no attribute {name!r}")
        made = _stand_in(self.__name__, name)
        setattr(self, name, made)
        return made


def is_stand_in(value: object) -> bool:
    """Whether ``value`` is a stand-in module or came out of one (a user's class derived from one is not)."""
    return isinstance(value, _Module) or (isinstance(value, _Meta) and "__stand_in__" in vars(value))


def stand_ins_in(annotation: object) -> list[str]:
    """The stand-ins that a type is made of, as ``pandas.DataFrame``; none where it is real."""
    if is_stand_in(annotation):
        return [f"{getattr(annotation, '__module__', '')}.{getattr(annotation, '__qualname__', '')}"]
    if isinstance(annotation, _Meta):
        return [name for base in annotation.__mro__ if is_stand_in(base) for name in stand_ins_in(base)]
    return [name for inner in typing.get_args(annotation) for name in stand_ins_in(inner)]


class _Loader(Loader):
    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__path__ = []
        module.__all__ = []  # type: ignore[attr-defined]


class _Finder(MetaPathFinder):
    """Last on ``sys.meta_path``: asked only for what nothing else found."""

    def __init__(
        self, thread: int, owns: Callable[[Path], bool], is_local: Callable[[str], bool], guarded: _Guarded
    ) -> None:
        self._thread = thread
        self._owns = owns
        self._is_local = is_local
        self._guarded = guarded
        self.names: list[str] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        top = fullname.partition(".")[0]
        if threading.get_ident() != self._thread or top in sys.stdlib_module_names or self._is_local(top):
            return None
        importer = _importing()
        if importer is None or not self._owns(importer[0]) or importer[1] in self._guarded(importer[0]):
            return None
        parts = fullname.split(".")
        missing = next((n for i in range(len(parts)) if (n := ".".join(parts[:i])) in _stood), fullname)
        _stood.setdefault(missing, set()).add(importer[0])
        self.names.append(fullname)
        return importlib.util.spec_from_loader(fullname, _Loader(), is_package=True)


_Guarded = Callable[[Path], frozenset[int]]
_stood: dict[str, set[Path]] = {}
"""Module → the files that have its stand-in: they keep it for as long as they are loaded."""


def _importing() -> tuple[Path, int] | None:
    """File and line of the import in progress: the innermost frame that is not the import system's own."""
    frame = sys._getframe(1)
    while frame is not None and (
        frame.f_code.co_filename.startswith("<frozen importlib")
        or frame.f_globals.get("__name__", "").partition(".")[0] == "importlib"
        or frame.f_globals.get("__name__") == __name__
    ):
        frame = frame.f_back  # type: ignore[assignment]
    return (Path(frame.f_code.co_filename), frame.f_lineno) if frame is not None else None


@contextmanager
def standing_in(owns: Callable[[Path], bool], is_local: Callable[[str], bool], guarded: _Guarded) -> Iterator[None]:
    """Answer the imports of this thread that nothing else answers, until the end of the block.

    ``owns``: whether a file is the project's; ``is_local``: whether a top-level module is; ``guarded``: the lines of a
    file whose import may fail. Afterwards ``sys.modules`` has no stand-in; the user's modules keep theirs.
    """
    finder = _Finder(threading.get_ident(), owns, is_local, guarded)
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in finder.names:
            if isinstance(sys.modules.get(name), _Module):
                del sys.modules[name]
            parent, _, last = name.rpartition(".")
            # Importing `google.cloud` made it an attribute of the real `google`.
            if parent in sys.modules and isinstance(vars(sys.modules[parent]).get(last), _Module):
                delattr(sys.modules[parent], last)


def stood_in(owns: Callable[[Path], bool]) -> tuple[str, ...]:
    """The modules that files of the project were loaded with stand-ins of, sorted; their submodules are not listed."""
    return tuple(sorted(name for name, files in _stood.items() if any(owns(f) for f in files)))
