"""Stand-ins: modules whose every attribute is a class that can be called, subclassed, subscripted, calculated with,
entered, and used as a decorator.

Who gets one instead of what is not installed here is :mod:`.standing`'s business. Where the SDK looks at what it is
handed, a stand-in is what it looks for: the application environments of plug-ins, and the configuration of their tasks.
"""

from __future__ import annotations

import importlib
import os
import types
import typing
from abc import ABCMeta
from collections.abc import Iterator
from typing import Any

__all__ = ["StandInModule", "StandInType", "is_stand_in", "stand_ins_in"]

_ERRORS = ("Error", "Exception", "Warning", "Interrupt")
_KNOWN = {"__version__": "0", "__doc__": None}


class StandInType(ABCMeta):
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
        made = _stand_in(cls.__module__, f"{cls.__qualname__}()")
        if cls.__qualname__.endswith("Task") or (cls.__module__.startswith("flyteplugins.") and "name" in kwargs):
            # A plug-in's task: it may be put into an environment, which asks it for these.
            known = {"parent_env": None, "image": kwargs.get("image", "auto"), "name": kwargs.get("name", "task")}
            for name, value in known.items():
                type.__setattr__(made, name, value)
        return made

    def __instancecheck__(cls, instance: Any) -> bool:
        # What comes out of a stand-in is a stand-in, whatever it would be an instance of.
        return super().__instancecheck__(instance) or (is_stand_in(cls) and is_stand_in(instance))

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
    setattr(StandInType, f"__{_name}__", _same)
for _name in ("or", "ror"):
    setattr(StandInType, f"__{_name}__", _union)


class _Base(metaclass=StandInType):
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


def _stand_in(module: str, name: str) -> Any:
    if name.endswith("AppEnvironment"):
        from .app_stubs import app_environment

        return app_environment(module, name, lambda attribute: _stand_in(f"{module}.{name}", attribute))
    bases: tuple[type, ...] = (_Base, Exception) if name.endswith(_ERRORS) else (_Base,)
    own = {"__module__": module, "__qualname__": name, "__stand_in__": True, "__slots__": ()}
    made = StandInType(name, bases, own)
    assert isinstance(made, StandInType)
    return made


def _is_decorated(value: Any) -> bool:
    """Whether a call with ``value`` alone reads as decorating it: a function, a class, a task."""
    if is_stand_in(value):
        return False
    return isinstance(value, types.FunctionType | type) or hasattr(type(value), "native_interface")


class StandInModule(types.ModuleType):
    """A module that has everything that is asked of it."""

    def __getattr__(self, name: str) -> Any:
        if name in _KNOWN:
            return _KNOWN[name]
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(f"module {self.__name__!r} (a stand-in) has no attribute {name!r}")
        # A module of the folder that this one stands before (see `standing`).
        held = any(os.path.exists(os.path.join(folder, f"{name}.py")) for folder in vars(self).get("__path__", ()))
        made = importlib.import_module(f"{self.__name__}.{name}") if held else _stand_in(self.__name__, name)
        setattr(self, name, made)
        return made


def is_stand_in(value: object) -> bool:
    """Whether ``value`` is a stand-in module or came out of one (a user's class derived from one is not)."""
    return isinstance(value, StandInModule) or (isinstance(value, StandInType) and "__stand_in__" in vars(value))


def stand_ins_in(annotation: object) -> list[str]:
    """The stand-ins that a type is made of, as ``pandas.DataFrame``; none where it is real."""
    if is_stand_in(annotation):
        return [f"{getattr(annotation, '__module__', '')}.{getattr(annotation, '__qualname__', '')}"]
    if isinstance(annotation, StandInType):
        return [name for base in annotation.__mro__ if is_stand_in(base) for name in stand_ins_in(base)]
    return [name for inner in typing.get_args(annotation) for name in stand_ins_in(inner)]
