"""What an expression in a task may mean, as far as calls are concerned: live objects of the loaded modules, and a few
abstract ones for what exists only when the code runs.

Objects of the SDK are told by what they have, not by their class: planning does not import flyte.
"""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from ....kernel.values import dataclass, field
from ....project.source_files import Function, LocalModule
from ....project.stubs import is_stand_in
from .scopes import Body

__all__ = [
    "EXTERNAL",
    "Aio",
    "Bag",
    "Bound",
    "Frame",
    "Instance",
    "Local",
    "Override",
    "Partial",
    "Super",
    "Values",
    "environment_of",
    "identity",
    "is_remote",
    "is_task",
    "unique",
]

Values: TypeAlias = tuple[object, ...]


class _External:
    """Something that is not the project's, and of no interest."""

    def __repr__(self) -> str:
        return "EXTERNAL"


EXTERNAL = _External()


class Frame:
    """A function (or a module's own statements) with what is known of its names. Made by :class:`Evaluator`."""

    def __init__(
        self,
        node: Body,
        module: LocalModule,
        names: Mapping[str, object],
        *,
        closure: Mapping[str, object] | None = None,
        outer: Frame | None = None,
        arguments: Mapping[str, Values] | None = None,
        label: str = "",
        key: tuple[object, ...] = (),
    ) -> None:
        self.node = node
        self.module = module
        self.globals = names
        self.closure = closure or {}
        self.outer = outer
        self.arguments = arguments or {}
        self.label = label
        self.key = key

    @property
    def file(self) -> Path:
        assert self.module.file is not None
        return self.module.file

    @property
    def line(self) -> int:
        return getattr(self.node, "lineno", 0)


@dataclass(frozen=True, eq=False, slots=True)
class Local:
    """A function defined inside another, or a lambda: no live object before the outer one runs."""

    node: Function
    frame: Frame


@dataclass(frozen=True, eq=False, slots=True)
class Bound:
    """A method of ``receiver`` (live or :class:`Instance`)."""

    receiver: object
    function: object


@dataclass(frozen=True, eq=False, slots=True)
class Instance:
    """What calling a class of the project gives. ``maybe_derived``: known by annotation only, so perhaps a subclass."""

    cls: type
    arguments: dict[str, Values] = field(default_factory=dict)
    maybe_derived: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Super:
    """``super()``: attributes of ``receiver`` looked up after ``cls``."""

    cls: type
    receiver: object


@dataclass(frozen=True, eq=False, slots=True)
class Bag:
    """A container, an iterator, a generator: any of its values may come out."""

    values: Values


@dataclass(frozen=True, eq=False, slots=True)
class Partial:
    """``functools.partial``: calling it calls ``function``."""

    function: object
    call: ast.Call | None = None
    frame: Frame | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Aio:
    """``task.aio``: calling it calls the task."""

    task: object


@dataclass(frozen=True, eq=False, slots=True)
class Override:
    """``task.override``: calling it gives the task."""

    task: object


def is_task(value: object) -> bool:
    """Whether ``value`` is a task of the SDK: it has an interface, and knows its environment."""
    if is_stand_in(value) or isinstance(value, type | types.ModuleType | types.FunctionType):
        return False
    kind = type(value)
    return hasattr(kind, "native_interface") and hasattr(kind, "override") and hasattr(value, "parent_env")


def is_remote(value: object) -> bool:
    """Whether ``value`` came from ``flyte.remote``: a task that is looked up where it runs; imports nothing."""
    return not isinstance(value, type) and (type(value).__module__ or "").startswith("flyte.remote")


def environment_of(value: object) -> str | None:
    """The name of a task's environment."""
    name = getattr(value, "parent_env_name", None)
    if isinstance(name, str):
        return name
    parent = getattr(value, "parent_env", None)
    found = parent() if callable(parent) else None
    return str(found.name) if found is not None else None


def identity(value: object, depth: int = 6) -> tuple[object, ...]:
    """Equal for values that mean the same; live objects by what they are."""
    match value:
        case _ if depth == 0:
            return ("deep",)
        case Local():
            return ("local", id(value.node), value.frame.key)
        case Bound():
            return ("bound", identity(value.receiver, depth - 1), identity(value.function, depth - 1))
        case Instance():
            inner = sorted((n, identities(v, depth - 1)) for n, v in value.arguments.items())
            return ("instance", id(value.cls), value.maybe_derived, tuple(inner))
        case Super():
            return ("super", id(value.cls), identity(value.receiver, depth - 1))
        case Bag():
            return ("bag", identities(value.values, depth - 1))
        case Partial():
            return ("partial", identity(value.function, depth - 1), id(value.call))
        case Aio() | Override():
            return (type(value).__name__, id(value.task))
        case _:
            return ("live", id(value))


def identities(values: Iterable[object], depth: int = 6) -> tuple[object, ...]:
    return tuple(sorted({identity(v, depth) for v in values}, key=repr))


def unique(values: Iterable[object]) -> Values:
    """Each meaning once, in order."""
    seen: dict[tuple[object, ...], object] = {}
    for value in values:
        seen.setdefault(identity(value), value)
    return tuple(seen.values())


def owned_code(value: object, owns: Callable[[Path], bool]) -> bool:
    """Whether ``value`` is a Python function out of a file of the project."""
    return isinstance(value, types.FunctionType) and owns(Path(value.__code__.co_filename))


def owned_class(value: object, owner: Callable[[str], bool]) -> bool:
    """Whether ``value`` is a class that a module of the project defines."""
    return isinstance(value, type) and not is_stand_in(value) and owner(value.__module__)


def unwrapped(value: object, owns: Callable[[Path], bool]) -> object:
    """The project's function that a decorator of somebody else's wraps; ``value`` itself where there is none."""
    seen = 0
    inner = value
    while not owned_code(inner, owns) and seen < 20:
        inner = inspect.getattr_static(inner, "__wrapped__", None) if not is_stand_in(inner) else None
        seen += 1
        if inner is None:
            return value
    return inner
