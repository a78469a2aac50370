"""What a function's walk finds: tasks that are used, functions of the project to go on to, and what stays open."""

from __future__ import annotations

import ast
import functools
import types
from collections.abc import Iterable
from enum import IntEnum

from ....kernel.values import dataclass, field
from ....project.stubs import is_stand_in
from . import values as v
from .evaluate import Evaluator, Frame
from .values import EXTERNAL, Aio, Bag, Bound, Instance, Override, Partial, Values

__all__ = ["Certainty", "Edge", "Finds", "Summary", "Use"]


class Certainty(IntEnum):
    """How sure it is that a reference is a call: seen, handed to something that may call it, or a guess by name."""

    PERHAPS = 0
    MAY = 1
    SURE = 2


@dataclass(frozen=True, slots=True)
class Use:
    task: object
    certainty: Certainty
    line: int


@dataclass(frozen=True, slots=True)
class Edge:
    frame: Frame
    certainty: Certainty
    line: int


@dataclass(slots=True)
class Summary:
    uses: list[Use] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)


class Finds:
    """The summary of ``frame`` in the making."""

    def __init__(self, evaluator: Evaluator, frame: Frame) -> None:
        self.e = evaluator
        self.frame = frame
        self.summary = Summary()

    def use(self, values: Iterable[object], certainty: Certainty, node: ast.AST, call: ast.Call | None = None) -> None:
        """Each of ``values`` is, with this certainty, called at ``node`` (with the arguments of ``call``)."""
        line = getattr(node, "lineno", self.frame.line)
        for value in values:
            if value is EXTERNAL or is_stand_in(value):
                continue
            if v.is_task(value) or v.is_remote(value):
                self.summary.uses.append(Use(value, certainty, line))
            elif isinstance(value, Aio):
                self.summary.uses.append(Use(value.task, certainty, line))
            elif isinstance(value, Override):
                if certainty < Certainty.SURE:
                    self.summary.uses.append(Use(value.task, Certainty.MAY, line))
            elif isinstance(value, Bag | list | tuple | set | frozenset | dict):
                if call is None:
                    self.use(self.e.elements((value,)), min(certainty, Certainty.MAY), node)
            elif isinstance(value, Partial):
                self.use((value.function,), certainty, node, value.call)
            elif isinstance(value, type):
                if call is not None and self.e.is_own_class(value):
                    self.made(value, certainty, node, call)
            else:
                self.follow(value, certainty, line, call)

    def follow(self, value: object, certainty: Certainty, line: int, call: ast.Call | None) -> None:
        """Go on to the functions of the project that calling ``value`` runs."""
        first: Values = ()
        if isinstance(value, types.MethodType):
            value = Bound(value.__self__, value.__func__)
        if isinstance(value, functools.partial):
            self._partial(value, certainty, line)
            return
        if isinstance(value, Bound):
            first, value = (value.receiver,), value.function
            if value is EXTERNAL:
                return
        elif isinstance(value, Instance) or self.e.is_own_class(type(value)):
            if call is not None:
                for method in self.e.attribute(value, "__call__"):
                    self.follow(method, certainty, line, call)
            return
        for target in self.e.wrapped(value):
            if v.is_task(target):
                self.summary.uses.append(Use(target, min(certainty, Certainty.MAY), line))
                continue
            given = self.e.bind(target, call, self.frame, first)
            self.summary.edges.extend(Edge(f, certainty, line) for f in self.e.frames(target, given))

    def _partial(self, value: functools.partial[object], certainty: Certainty, line: int) -> None:
        """A live ``functools.partial``, with the arguments that it holds."""
        if not self.e.owned(value.func):
            self.use((value.func,), certainty, ast.Pass(lineno=line))
            return
        names = self.e.parameters_of(value.func)
        held = {**dict(zip(names, value.args, strict=False)), **value.keywords}
        given: dict[str, Values] = {n: (x,) for n, x in held.items() if n in names}
        self.summary.edges.extend(Edge(f, certainty, line) for f in self.e.frames(value.func, given))

    def made(self, cls: type, certainty: Certainty, node: ast.AST, call: ast.Call) -> None:
        """Making an instance runs its constructors, and perhaps any operator it has."""
        instance = self.e.instance(cls, call, self.frame)
        line = getattr(node, "lineno", self.frame.line)
        for base in cls.__mro__:
            if not self.e.is_own_class(base):
                continue
            for name, method in vars(base).items():
                if name in ("__init__", "__post_init__", "__new__"):
                    self.follow(Bound(instance, method), certainty, line, call if name != "__post_init__" else None)
                elif name.startswith("__") and name.endswith("__") and isinstance(method, types.FunctionType):
                    self.follow(Bound(instance, method), Certainty.PERHAPS, line, None)

    def method(self, values: Values, names: tuple[str, ...], node: ast.AST) -> None:
        """The language itself calls these methods of ``values`` here."""
        line = getattr(node, "lineno", self.frame.line)
        for value in values:
            if isinstance(value, Instance) or (value is not EXTERNAL and self.e.is_own_class(type(value))):
                for name in names:
                    for found in self.e.attribute(value, name):
                        if isinstance(found, Bound):
                            self.follow(found, Certainty.SURE, line, None)

    def note(self, node: ast.AST, what: str) -> None:
        text = ast.unparse(node)
        text = text if len(text) <= 60 else text[:57] + "..."
        self.summary.notes.append((getattr(node, "lineno", self.frame.line), f"`{text}`: {what}"))
