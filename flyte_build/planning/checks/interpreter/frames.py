"""Frames: one function (or a module's own statements) with what its arguments are known to be.

The same function called with another task is another frame, equal calls are the same one, and a function that is
called in too many ways is one frame whose arguments are unknown. Finds sources and binds arguments; what expressions
mean is :mod:`evaluate`'s.
"""

from __future__ import annotations

import ast
import inspect
import types
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

from ....project.source_files import Function, LocalModule, Sources
from ....project.stubs import is_stand_in
from . import values as v
from .scopes import Body, Scope, parameters, scope_of
from .values import EXTERNAL, Bag, Frame, Local, Values, unique

__all__ = ["Frame", "Frames"]

_CONTEXTS = 32


class Frames(ABC):
    """The frames of a project's functions, each made once."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._frames: dict[tuple[object, ...], Frame] = {}
        self._contexts: dict[object, int] = {}
        self._scopes: dict[int, Scope] = {}
        self._kept: list[object] = []

    @abstractmethod
    def evaluate(self, node: ast.expr, frame: Frame) -> Values:
        """What ``node`` may mean in ``frame``: empty where nothing is known, ``EXTERNAL`` for what is not ours."""

    @abstractmethod
    def name(self, name: str, frame: Frame | None) -> Values:
        """What ``name`` may mean in ``frame``."""

    @abstractmethod
    def elements(self, values: Values) -> Values:
        """What iterating over ``values``, or taking something out of them, may give."""

    def owned(self, value: object) -> bool:
        """Whether calling ``value`` runs a function of the project."""
        return isinstance(value, Local) or v.owned_code(value, self.sources.owns)

    def is_own_class(self, value: object) -> TypeGuard[type]:
        return v.owned_class(value, lambda name: self.sources.find(name) is not None)

    def wrapped(self, value: object) -> list[object]:
        """The functions of the project (and tasks) that calling ``value`` runs: itself, or what somebody else's
        decorator keeps in ``__wrapped__``, in its closure or in its attributes."""
        if self.owned(value):
            return [value]
        inner = v.unwrapped(value, self.sources.owns)
        if self.owned(inner):
            return [inner]
        if (
            value is EXTERNAL
            or is_stand_in(value)
            or isinstance(value, type | types.ModuleType | types.BuiltinFunctionType)
        ):
            return []
        kept: list[object] = []
        for cell in (value.__closure__ or ()) if isinstance(value, types.FunctionType) else ():
            try:
                kept.append(cell.cell_contents)
            except ValueError:
                continue
        if not isinstance(value, types.FunctionType) and callable(value):
            own = inspect.getattr_static(value, "__dict__", None)
            kept += list(own.values()) if isinstance(own, dict) else []
        return [x for x in kept if self.owned(x) or v.is_task(x)]

    def scope(self, node: Body) -> Scope:
        if id(node) not in self._scopes:
            self._scopes[id(node)] = scope_of(node)
        return self._scopes[id(node)]

    # -- frames ------------------------------------------------------------------------------------

    def module_frame(self, module: types.ModuleType) -> Frame | None:
        """The frame of a module's own statements."""
        local = self.sources.find(module.__name__)
        if local is None or local.file is None or local.file.suffix != ".py":
            return None
        tree = self.sources.tree(local.file)
        if tree is None:
            return None
        key = ("module", local.name)
        if key not in self._frames:
            self._frames[key] = Frame(tree, local, vars(module), label=local.name, key=key)
        return self._frames[key]

    def frames(self, function: object, arguments: Mapping[str, Values] | None = None) -> list[Frame]:
        """The frames of calling ``function`` (live or :class:`Local`) with what is known of its arguments.

        More than one only for lambdas that share a line. Empty where the source is not the project's.
        """
        given = {n: unique(x) for n, x in (arguments or {}).items()}
        if isinstance(function, Local):
            outer = function.frame
            key: tuple[object, ...] = ("local", id(function.node), outer.key)
            return [self._frame(function.node, outer.module, outer.globals, {}, outer, given, key)]
        if not isinstance(function, types.FunctionType):
            return []
        module = self.sources.of(Path(function.__code__.co_filename))
        if module is None:
            return []
        self._kept.append(function)
        closure = {}
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                closure[name] = cell.cell_contents
            except ValueError:
                continue
        return [
            self._frame(node, module, function.__globals__, closure, None, given, ("live", id(function), id(node)))
            for node in self.sources.function(function.__code__)
        ]

    def _frame(
        self,
        node: Function,
        module: LocalModule,
        names: Mapping[str, object],
        closure: Mapping[str, object],
        outer: Frame | None,
        given: Mapping[str, Values],
        base: tuple[object, ...],
    ) -> Frame:
        told = tuple((n, v.identities(x)) for n, x in sorted(given.items()))
        key = (*base, told)
        if key not in self._frames and self._contexts.get(base, 0) >= _CONTEXTS:
            given = {}
            key = (*base, "any")
        if key not in self._frames:
            self._contexts[base] = self._contexts.get(base, 0) + 1
            label = getattr(node, "name", "a lambda")
            self._frames[key] = Frame(
                node, module, names, closure=closure, outer=outer, arguments=given, label=label, key=key
            )
        return self._frames[key]

    def parameters_of(self, function: object) -> list[str]:
        """A function's parameters, without ``*`` and ``**``; none where its source is not the project's."""
        nodes = self.sources.function(function.__code__) if isinstance(function, types.FunctionType) else []
        return parameters(nodes[0])[0] if nodes else []

    def bind(self, function: object, call: ast.Call | None, frame: Frame, first: Values = ()) -> dict[str, Values]:
        """What the parameters of ``function`` are in ``call`` (in ``frame``); ``first`` is a method's receiver."""
        node = function.node if isinstance(function, Local) else None
        if node is None and isinstance(function, types.FunctionType):
            node = next(iter(self.sources.function(function.__code__)), None)
        if node is None:
            return {}
        names, rest, keywords = parameters(node)
        bound: dict[str, Values] = {}
        positional: list[Values] = [first] if first else []
        spread: Values = ()
        for argument in call.args if call is not None else ():
            if isinstance(argument, ast.Starred):
                spread += self.elements(self.evaluate(argument.value, frame))
            else:
                positional.append(self.evaluate(argument, frame))
        for name, given in zip(names, positional, strict=False):
            if given:
                bound[name] = given
        extra = [x for given in positional[len(names) :] for x in given]
        for keyword in call.keywords if call is not None else ():
            given = self.evaluate(keyword.value, frame)
            if keyword.arg in names and given:
                bound[keyword.arg] = given
            elif keyword.arg is None:
                spread += self.elements(given)
            elif keywords:
                bound[keywords] = (*bound.get(keywords, ()), Bag(given))
        if spread:
            for name in names:
                bound.setdefault(name, spread)
        if rest:
            bound[rest] = (Bag(unique([*extra, *spread])),)
        return bound
