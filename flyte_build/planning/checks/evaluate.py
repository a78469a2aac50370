"""What an expression means: the syntax says what is asked, the loaded modules' own objects what it is.

A frame is one function with what its arguments are known to be; the same function called with another task is
another frame. The answer is a set of values, because order and branches are not followed. Runs none of the user's code:
attributes are looked up, never computed.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeGuard

from ...standins import is_stand_in
from . import values as v
from .scopes import Binding, Body, Scope, parameters, scope_of
from .sources import Function, LocalModule, Sources
from .values import EXTERNAL, Aio, Bag, Bound, Instance, Local, Override, Partial, Super, Values, unique

__all__ = ["Evaluator", "Frame"]

_CONTEXTS = 32
_DEPTH = 50
_LARGE = 2000
_TAKING = {"get", "pop", "values", "items", "copy", "popitem", "setdefault", "popleft", "__getitem__"}
_PASSING = {"list", "tuple", "set", "frozenset", "sorted", "reversed", "iter", "next", "enumerate", "zip", "dict", "cast"}


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


class Evaluator:
    """Answers for one project. ``load`` imports a module of the project that is not loaded yet, or gives ``None``."""

    def __init__(self, sources: Sources, load: Callable[[str], types.ModuleType | None]) -> None:
        self.sources = sources
        self._load = load
        self._frames: dict[tuple[object, ...], Frame] = {}
        self._contexts: dict[object, int] = {}
        self._scopes: dict[int, Scope] = {}
        self._known: dict[tuple[int, int], Values] = {}
        self._busy: set[tuple[int, int]] = set()
        self._cuts = 0
        self._kept: list[object] = []

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
        if value is EXTERNAL or is_stand_in(value) or isinstance(value, type | types.ModuleType | types.BuiltinFunctionType):
            return []
        kept: list[object] = []
        for cell in getattr(value, "__closure__", None) or ():
            try:
                kept.append(cell.cell_contents)
            except ValueError:
                continue
        if not isinstance(value, types.FunctionType) and callable(value):
            kept += list(getattr(value, "__dict__", {}).values())
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

    # -- expressions -------------------------------------------------------------------------------

    def evaluate(self, node: ast.expr, frame: Frame) -> Values:
        """What ``node`` may mean in ``frame``: empty where nothing is known, ``EXTERNAL`` for what is of no interest."""
        key = (id(node), id(frame))
        if key in self._known:
            return self._known[key]
        if key in self._busy or len(self._busy) > _DEPTH:
            self._cuts += 1
            return ()
        before = self._cuts
        self._busy.add(key)
        try:
            found = unique(self._evaluate(node, frame))
        finally:
            self._busy.discard(key)
        # What was cut short inside a circle is complete only for the one who asked first.
        if self._cuts == before or not self._busy:
            self._known[key] = found
        return found

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
                return self._each(self.evaluate(node.value, frame), lambda x: self._item(x, node.slice))
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
                out += [] if value is sys.modules or len(value) > _LARGE else list(value.values())
            elif isinstance(value, list | tuple | set | frozenset):
                out += [] if len(value) > _LARGE else list(value)
            elif value is EXTERNAL:
                out.append(EXTERNAL)
            elif isinstance(value, Instance):
                for method in ("__next__", "__iter__", "__getitem__"):
                    for found in self.attribute(value, method):
                        out += self.elements(self.results(found, None, None))
        return unique(out)

    def _item(self, value: object, key: ast.expr) -> Values:
        if isinstance(key, ast.Constant) and isinstance(value, dict):
            found = value.get(key.value, _MISSING)
            return (found,) if found is not _MISSING else ()
        if isinstance(key, ast.Constant) and isinstance(key.value, int) and isinstance(value, list | tuple):
            return (value[key.value],) if -len(value) <= key.value < len(value) else ()
        if isinstance(key, ast.Slice):
            return (value,)
        return self.elements((value,))

    # -- names -------------------------------------------------------------------------------------

    def name(self, name: str, frame: Frame | None) -> Values:
        """What ``name`` may mean: assignments in the function, its arguments, what surrounds it, globals, builtins."""
        assert frame is not None
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
        return Frame(ast.Module([], []), frame.module, frame.globals, closure=frame.closure, key=("around", frame.key))

    def _annotated(self, annotation: ast.expr, frame: Frame) -> Values:
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            try:
                annotation = ast.parse(annotation.value, mode="eval").body
            except SyntaxError:
                return ()
        out: list[object] = []
        around = frame.outer or self._around(frame)
        self._kept.append(annotation)
        for node in ast.walk(annotation):
            if isinstance(node, ast.Name | ast.Attribute):
                for value in self.evaluate(node, around):
                    out.append(Instance(value, maybe_derived=True) if self.is_own_class(value) else EXTERNAL)
        return tuple(out)


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

    # -- attributes and calls ----------------------------------------------------------------------

    def attribute(self, value: object, name: str) -> Values:
        """What ``value.name`` may mean; nothing is computed but what the SDK and modules themselves would give."""
        if value is EXTERNAL or is_stand_in(value):
            return (EXTERNAL,)
        if v.is_task(value):
            if name == "aio":
                return (Aio(value),)
            if name == "override":
                return (Override(value),)
            return (getattr(value, "func", EXTERNAL),) if name in ("func", "forward", "execute") else (EXTERNAL,)
        if isinstance(value, types.ModuleType):
            return self._of_module(value, name)
        if isinstance(value, Instance | Super):
            return self._of_instance(value, name)
        if isinstance(value, Bag | dict | list | tuple | set) and name in _TAKING:
            return (Bound(value, EXTERNAL),)
        if isinstance(value, Local | Bag | Bound | Partial | Aio | Override):
            return ()
        if v.is_remote(value) or _is_environment(value):
            found = getattr(value, name, EXTERNAL) if name == "tasks" else value if name == "override" else EXTERNAL
            return (found,)
        return self._of_object(value, name)

    def _of_module(self, module: types.ModuleType, name: str) -> Values:
        if name in vars(module):
            return (vars(module)[name],)
        inner = sys.modules.get(f"{module.__name__}.{name}")
        if inner is None and self.sources.find(module.__name__) is not None:
            inner = self.module(f"{module.__name__}.{name}")
        return (inner,) if inner is not None else (EXTERNAL,)

    def _of_object(self, value: object, name: str) -> Values:
        found = inspect.getattr_static(value, name, _MISSING)
        if found is _MISSING:
            return (EXTERNAL,) if not self.is_own_class(type(value)) else ()
        if isinstance(found, staticmethod):
            return (found.__func__,)
        if isinstance(found, classmethod):
            return (Bound(value if isinstance(value, type) else type(value), found.__func__),)
        if isinstance(found, property):
            return self._results_of(found.fget, value)
        if isinstance(found, types.MemberDescriptorType | types.GetSetDescriptorType):
            return (getattr(value, name, EXTERNAL),)
        if isinstance(value, type):
            return (found,)
        bound = isinstance(found, types.FunctionType) and name not in getattr(value, "__dict__", {})
        return (Bound(value, found),) if bound else (found,)

    def _of_instance(self, value: Instance | Super, name: str) -> Values:
        receiver = value.receiver if isinstance(value, Super) else value
        classes = [c for c in self._classes(value) if name in vars(c)][:1]
        if isinstance(value, Instance) and value.maybe_derived:
            classes += [c for c in _derived(value.cls) if name in vars(c)]
        out: list[object] = []
        for cls in classes:
            found = vars(cls)[name]
            if isinstance(found, staticmethod):
                out.append(found.__func__)
            elif isinstance(found, classmethod):
                out.append(Bound(cls, found.__func__))
            elif isinstance(found, property | functools.cached_property):
                getter = found.fget if isinstance(found, property) else found.func
                out += self._results_of(getter, receiver)
            elif isinstance(found, types.FunctionType) or hasattr(found, "__wrapped__"):
                out.append(Bound(receiver, found))
            elif not isinstance(found, types.MemberDescriptorType):
                out.append(found)
        if isinstance(receiver, Instance):
            out += self._assigned(receiver, name)
        return tuple(out)

    def _classes(self, value: Instance | Super) -> tuple[type, ...]:
        if isinstance(value, Instance):
            return value.cls.__mro__
        receiver = value.receiver
        cls = receiver.cls if isinstance(receiver, Instance) else receiver if isinstance(receiver, type) else type(receiver)
        after = cls.__mro__
        return after[after.index(value.cls) + 1 :] if value.cls in after else ()

    def _assigned(self, value: Instance, name: str) -> Values:
        """What the class's own methods assign to ``self.name``, and a dataclass's field of that name."""
        out: list[object] = list(value.arguments.get(name, ())) if dataclasses.is_dataclass(value.cls) else []
        for cls in value.cls.__mro__:
            for method in vars(cls).values():
                if not v.owned_code(method, self.sources.owns):
                    continue
                first: Values = (value,)
                for node in self.sources.function(method.__code__):
                    names, _, _ = parameters(node)
                    wanted = [e for n, a, e in self.scope(node).attributes if names[:1] == [n] and a == name]
                    if not wanted:
                        continue
                    given = dict(value.arguments) if method.__name__ == "__init__" else {}
                    for frame in self.frames(method, {**given, names[0]: first}):
                        out += [x for e in wanted for x in self.evaluate(e, frame)]
        return tuple(out)

    def _results_of(self, getter: object, receiver: object) -> Values:
        return self.results(Bound(receiver, getter), None, None) if getter is not None else ()

    def instance(self, cls: type, call: ast.Call | None, frame: Frame | None) -> Instance:
        """What ``cls(…)`` gives, with what is known of the arguments."""
        init = inspect.getattr_static(cls, "__init__", None)
        if frame is None or call is None:
            return Instance(cls)
        if v.owned_code(init, self.sources.owns):
            given = self.bind(init, call, frame, (EXTERNAL,))
            assert isinstance(init, types.FunctionType)
            return Instance(cls, {n: x for n, x in given.items() if n != init.__code__.co_varnames[0]})
        if dataclasses.is_dataclass(cls):
            names = [f.name for f in dataclasses.fields(cls) if f.init]
            given = {n: self.evaluate(a, frame) for n, a in zip(names, call.args, strict=False)}
            given |= {k.arg: self.evaluate(k.value, frame) for k in call.keywords if k.arg}
            return Instance(cls, given)
        return Instance(cls)

    def _returned(self, frame: Frame) -> Values:
        assert not isinstance(frame.node, ast.Module)
        scope = self.scope(frame.node)
        out = [x for e in scope.returns for x in self.evaluate(e, frame)]
        given = [x for e in scope.yields for x in self.evaluate(e, frame)]
        return (*out, Bag(unique(given))) if given else tuple(out)

    def results(self, value: object, call: ast.Call | None, frame: Frame | None) -> Values:
        """What calling ``value`` gives. Calling a task gives data, which is of no interest."""
        if isinstance(value, Override):
            return (value.task,)
        if isinstance(value, Partial):
            return self.results(value.function, value.call, value.frame)
        if isinstance(value, Bound):
            if value.function is EXTERNAL:
                return (Bag(self.elements((value.receiver,))), *self.elements((value.receiver,)))
            target, first = v.unwrapped(value.function, self.sources.owns), (value.receiver,)
        else:
            target, first = v.unwrapped(value, self.sources.owns), ()
        if self.is_own_class(target):
            return (self.instance(target, call, frame),)
        if not self.owned(target):
            return (EXTERNAL,)
        given = self.bind(target, call, frame, first) if frame is not None else self._first(target, first)
        return tuple(x for f in self.frames(target, given) for x in self._returned(f))

    def _first(self, function: object, first: Values) -> dict[str, Values]:
        nodes = self.sources.function(function.__code__) if isinstance(function, types.FunctionType) else []
        names = parameters(nodes[0])[0] if nodes else []
        return {names[0]: first} if names and first else {}

    def _call(self, node: ast.Call, frame: Frame) -> Values:
        called = self.evaluate(node.func, frame)
        name = node.func.id if isinstance(node.func, ast.Name) else None
        out: list[object] = []
        for value in called:
            if value is functools.partial and node.args:
                rest = ast.copy_location(ast.Call(node.func, node.args[1:], node.keywords), node)
                self._kept.append(rest)
                out += [Partial(x, rest, frame) for x in self.evaluate(node.args[0], frame)]
            elif value is getattr and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                attribute = str(node.args[1].value)
                out += self._each(self.evaluate(node.args[0], frame), lambda x, a=attribute: self.attribute(x, a))  # type: ignore[misc]
            elif value is globals:
                out.append(frame.globals)
            elif value is super:
                out += self._super(node, frame)
            elif value is sys.modules.get("importlib").__dict__.get("import_module") and node.args:  # type: ignore[union-attr]
                out += self._dynamic(node.args[0])
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

    def _dynamic(self, name: ast.expr) -> Values:
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            module = self.module(name.value)
            return (module,) if module is not None else (EXTERNAL,)
        return ()


_MISSING = object()


def _is_environment(value: object) -> bool:
    kind = type(value)
    return (kind.__module__ or "").startswith("flyte.") and hasattr(value, "depends_on")


def _derived(cls: type) -> list[type]:
    out: list[type] = []
    pending = list(type.__subclasses__(cls))
    while pending:
        found = pending.pop()
        out.append(found)
        pending += type.__subclasses__(found)
    return out
