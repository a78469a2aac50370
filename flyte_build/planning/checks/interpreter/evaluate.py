"""What an expression means: the syntax says what is asked, the loaded modules' own objects what it is.

The answer is a set of values, because order and branches are not followed: a name that is assigned twice may be either.
Runs none of the user's code.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import sys
import types
from collections.abc import Callable

from ....project.source_files import Sources
from .frames import Frame
from .objects import Objects
from .rounds import Rounds
from .scopes import Binding, parameters
from .texts import texts_of
from .values import EXTERNAL, Bag, Instance, Local, Partial, Super, Values, unique

__all__ = ["Evaluator", "Frame"]

_MISSING = object()
_LARGE = 2000
_PASSING = frozenset(
    {"cast", "dict", "enumerate", "frozenset", "iter", "list", "next", "reversed", "set", "sorted", "tuple", "zip"}
)


class Evaluator(Objects):
    """Answers for one project. ``load`` imports a module of the project that is not loaded yet, or gives ``None``."""

    def __init__(self, sources: Sources, load: Callable[[str], types.ModuleType | None]) -> None:
        super().__init__(sources)
        self.rounds = Rounds()
        self._load = load
        self._surroundings: dict[tuple[object, ...], Frame] = {}
        self._rests: dict[int, ast.Call] = {}
        self._written: dict[int, ast.expr | None] = {}

    # -- expressions -------------------------------------------------------------------------------

    def evaluate(self, node: ast.expr, frame: Frame) -> Values:
        """What ``node`` may mean in ``frame``: empty where nothing is known, ``EXTERNAL`` for what is not ours."""
        return self.rounds.answer((id(node), id(frame)), lambda: self._evaluate(node, frame))

    def _evaluate(self, node: ast.expr, frame: Frame) -> Values:
        match node:
            case ast.Name():
                return self.name(node.id, frame)
            case ast.Constant():
                return (EXTERNAL,)
            case ast.Attribute():
                return self._each(self.evaluate(node.value, frame), lambda x: self.attribute(x, node.attr))
            case ast.Call():
                return self._call(node, frame)
            case ast.Subscript():
                return self._each(self.evaluate(node.value, frame), lambda x: self._item(x, node.slice, frame))
            case ast.Await() | ast.Starred() | ast.NamedExpr() | ast.YieldFrom():
                return self.evaluate(node.value, frame)
            case ast.IfExp():
                return (*self.evaluate(node.body, frame), *self.evaluate(node.orelse, frame))
            case ast.BoolOp():
                return tuple(x for part in node.values for x in self.evaluate(part, frame))
            case ast.BinOp():
                return (*self.evaluate(node.left, frame), *self.evaluate(node.right, frame))
            case ast.Lambda():
                return (Local(node, frame),)
            case ast.List() | ast.Tuple() | ast.Set():
                return (Bag(tuple(x for e in node.elts for x in self._spread(e, frame))),)
            case ast.Dict():
                return (Bag(tuple(x for e in node.values for x in self._spread(e, frame))),)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                return (Bag(self.evaluate(node.elt, frame)),)
            case ast.DictComp():
                return (Bag(self.evaluate(node.value, frame)),)
            case ast.JoinedStr() | ast.Compare() | ast.UnaryOp():
                return (EXTERNAL,)
            case _:
                return ()

    def _each(self, values: Values, of: Callable[[object], Values]) -> Values:
        return tuple(x for value in values for x in of(value))

    def _spread(self, node: ast.expr, frame: Frame) -> Values:
        if isinstance(node, ast.Starred):
            return self.elements(self.evaluate(node.value, frame))
        return self.evaluate(node, frame)

    def elements(self, values: Values) -> Values:
        """What iterating over ``values``, or taking something out of them, may give."""
        out: list[object] = []
        for value in values:
            if isinstance(value, Bag):
                # Unpacking takes a pair apart as well.
                out += [x for y in value.values for x in ([y, *self.elements((y,))] if isinstance(y, Bag) else [y])]
            elif isinstance(value, dict):
                out += [] if value is sys.modules or len(value) > _LARGE else list(dict.values(value))
            elif isinstance(value, list | tuple | set | frozenset):
                out += [] if len(value) > _LARGE else list(value)
            elif value is EXTERNAL:
                out.append(EXTERNAL)
            elif isinstance(value, Instance):
                for method in ("__next__", "__iter__", "__getitem__"):
                    for found in self.attribute(value, method):
                        out += self.elements(self.results(found, None, None))
        return unique(out)

    def _item(self, value: object, key: ast.expr, frame: Frame) -> Values:
        keys = texts_of(self, key, frame)
        if keys is not None and isinstance(value, dict):
            found = [dict.get(value, k, _MISSING) for k in keys]
            return tuple(x for x in found if x is not _MISSING)
        if isinstance(key, ast.Constant) and isinstance(key.value, int) and isinstance(value, list | tuple):
            return (value[key.value],) if -len(value) <= key.value < len(value) else ()
        if isinstance(key, ast.Slice):
            return (value,)
        return self.elements((value,))

    # -- names -------------------------------------------------------------------------------------

    def name(self, name: str, frame: Frame | None) -> Values:
        """What ``name`` may mean: assignments in the function, its arguments, what surrounds it, globals, builtins."""
        assert frame is not None
        return self.rounds.answer((name, id(frame)), lambda: self._name(name, frame))

    def _name(self, name: str, frame: Frame) -> Values:
        scope = self.scope(frame.node)
        found: list[object] = []
        local = False
        if name not in scope.outer and not isinstance(frame.node, ast.Module):
            for binding in scope.hard.get(name, ()):
                local = True
                found += self._bound(binding, frame)
            names, rest, keywords = parameters(frame.node)
            if name in (*names, rest, keywords):
                local = True
                found += self._parameter(name, frame)
        elif name in scope.outer:
            for binding in scope.hard.get(name, ()):
                found += self._bound(binding, frame)
        for binding in scope.soft.get(name, ()):
            found += [Bag(self._bound(binding, frame))] if binding.kind == "bag" else self._bound(binding, frame)
        if local:
            return tuple(found)
        if frame.outer is not None:
            return (*found, *self.name(name, frame.outer))
        for table in (frame.closure, frame.globals, vars(builtins)):
            if name in table:
                return (*found, table[name])
        return tuple(found)

    def _parameter(self, name: str, frame: Frame) -> Values:
        if name in frame.arguments:
            return frame.arguments[name]
        assert not isinstance(frame.node, ast.Module)
        a = frame.node.args
        found: list[object] = []
        positional = [*a.posonlyargs, *a.args]
        defaults = [*zip(positional[len(positional) - len(a.defaults) :], a.defaults, strict=True)]
        for parameter, default in (*defaults, *zip(a.kwonlyargs, a.kw_defaults, strict=True)):
            if parameter.arg == name and default is not None:
                found += self.evaluate(default, frame.outer or self._around(frame))
        for parameter in (*positional, *a.kwonlyargs):
            if parameter.arg == name and parameter.annotation is not None:
                found += self._annotated(parameter.annotation, frame)
        return tuple(found)

    def _around(self, frame: Frame) -> Frame:
        """Where a function's defaults and annotations were evaluated, as far as it is known."""
        if frame.key not in self._surroundings:
            self._surroundings[frame.key] = Frame(
                ast.Module([], []), frame.module, frame.globals, closure=frame.closure, key=("around", frame.key)
            )
        return self._surroundings[frame.key]

    def _annotated(self, annotation: ast.expr, frame: Frame) -> Values:
        written = self._as_written(annotation)
        if written is None:
            return ()
        out: list[object] = []
        around = frame.outer or self._around(frame)
        for node in ast.walk(written):
            if isinstance(node, ast.Name | ast.Attribute):
                for value in self.evaluate(node, around):
                    out.append(Instance(value, maybe_derived=True) if self.is_own_class(value) else EXTERNAL)
        return tuple(out)

    def _as_written(self, annotation: ast.expr) -> ast.expr | None:
        """The expression in an annotation that is a string; ``None`` where there is none in it."""
        if not isinstance(annotation, ast.Constant) or not isinstance(annotation.value, str):
            return annotation
        if id(annotation) not in self._written:
            try:
                self._written[id(annotation)] = ast.parse(annotation.value, mode="eval").body
            except SyntaxError:
                self._written[id(annotation)] = None
        return self._written[id(annotation)]

    def _bound(self, binding: Binding, frame: Frame) -> Values:
        node = binding.node
        match binding.kind:
            case "value":
                return self.evaluate(node, frame) if isinstance(node, ast.expr) else ()
            case "bag":
                assert isinstance(node, ast.expr)
                return self.evaluate(node, frame)
            case "element":
                assert isinstance(node, ast.expr)
                return self.elements(self.evaluate(node, frame))
            case "enter":
                assert isinstance(node, ast.expr)
                return self._entered(self.evaluate(node, frame))
            case "import":
                return self._imported(binding, frame)
            case "define":
                assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                return self._defined(node, frame)

    def _entered(self, values: Values) -> Values:
        out: list[object] = []
        for value in values:
            if isinstance(value, Bag):
                out += value.values
            elif isinstance(value, Instance):
                for method in (*self.attribute(value, "__enter__"), *self.attribute(value, "__aenter__")):
                    out += self.results(method, None, None)
            else:
                out.append(value)
        return tuple(out)

    def _defined(self, node: ast.FunctionDef | ast.AsyncFunctionDef, frame: Frame) -> Values:
        inner = Local(node, frame)
        out: list[object] = [inner]
        for decorator in node.decorator_list:
            for value in self.evaluate(decorator, frame):
                if self.owned(value):
                    names = self.bind(value, None, frame, (inner,))
                    out += [x for f in self.frames(value, names) for x in self._returned(f)]
        return tuple(out)

    def _imported(self, binding: Binding, frame: Frame) -> Values:
        name = binding.module
        if binding.level:
            parts = frame.module.package.split(".") if frame.module.package else []
            if binding.level > len(parts):
                return ()
            name = ".".join([*parts[: len(parts) - binding.level + 1], *([name] if name else [])])
        module = self.module(name)
        if module is None:
            return (EXTERNAL,)
        return self.attribute(module, binding.attribute) if binding.attribute is not None else (module,)

    def module(self, name: str) -> types.ModuleType | None:
        """The loaded module; one of the project's is imported where need be. ``None``: not here, not ours."""
        found = sys.modules.get(name)
        if found is None and self.sources.find(name) is not None:
            found = self._load(name)
        return found

    def _call(self, node: ast.Call, frame: Frame) -> Values:
        called = self.evaluate(node.func, frame)
        name = node.func.id if isinstance(node.func, ast.Name) else None
        out: list[object] = []
        for value in called:
            if value is functools.partial and node.args:
                rest = self._rests.setdefault(
                    id(node), ast.copy_location(ast.Call(node.func, node.args[1:], node.keywords), node)
                )
                out += [Partial(x, rest, frame) for x in self.evaluate(node.args[0], frame)]
            elif value is getattr and len(node.args) > 1:
                for attribute in texts_of(self, node.args[1], frame) or ():
                    out += self._each(self.evaluate(node.args[0], frame), functools.partial(_swapped, self, attribute))
            elif value is globals:
                out.append(frame.globals)
            elif value is super:
                out += self._super(node, frame)
            elif value is importlib.import_module and node.args:
                for text in texts_of(self, node.args[0], frame) or ():
                    module = self.module(text)
                    out.append(module if module is not None else EXTERNAL)
            elif value is map and len(node.args) > 1:
                out.append(Bag(self._each(self.evaluate(node.args[0], frame), lambda x: self.results(x, None, None))))
            elif name in _PASSING and not self.owned(value):
                inner = tuple(x for a in node.args for x in self._spread(a, frame))
                out.append(Bag(unique([*inner, *self.elements(inner)])))
                out += self.elements(inner) if name in ("next", "cast") else ()
                out += inner if name == "cast" else ()
            else:
                out += self.results(value, node, frame)
        return tuple(out)

    def _super(self, node: ast.Call, frame: Frame) -> Values:
        holder: Frame | None = frame
        while holder is not None and "__class__" not in holder.closure:
            holder = holder.outer
        if holder is None or isinstance(holder.node, ast.Module):
            return ()
        cls = holder.closure["__class__"]
        names, _, _ = parameters(holder.node)
        receivers = holder.arguments.get(names[0], ()) if names else ()
        return tuple(Super(cls, r) for r in receivers or (Instance(cls),)) if isinstance(cls, type) else ()


def _swapped(evaluator: Evaluator, name: str, value: object) -> Values:
    return evaluator.attribute(value, name)
