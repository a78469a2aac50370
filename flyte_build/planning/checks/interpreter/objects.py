"""What an attribute of an object is, and what calling one gives: live objects, and instances that do not exist yet.

Looks things up as Python would (method resolution order, descriptors, what ``__init__`` assigned), but computes
nothing: no property, no ``__getattr__`` of the user's is run.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import sys
import types
from abc import abstractmethod

from ....project.stubs import is_stand_in
from . import values as v
from .frames import Frame, Frames
from .scopes import parameters
from .values import EXTERNAL, Aio, Bag, Bound, Instance, Local, Override, Partial, Super, Values, unique

__all__ = ["Objects"]

_MISSING = object()
_TAKING = {"get", "pop", "values", "items", "copy", "popitem", "setdefault", "popleft", "__getitem__"}


class Objects(Frames):
    """Attributes and results."""

    @abstractmethod
    def module(self, name: str) -> types.ModuleType | None:
        """The loaded module; one of the project's is imported where need be. ``None``: not here, not ours."""

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
        classes: list[tuple[type, object]] = [(c, receiver) for c in self._classes(value) if name in vars(c)][:1]
        if isinstance(value, Instance) and value.maybe_derived:
            classes += [(c, Instance(c)) for c in _derived(value.cls) if name in vars(c)]
        out: list[object] = []
        for cls, receiver in classes:
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
        if isinstance(value, Instance):
            out += self._assigned(value, name)
        elif isinstance(value.receiver, Instance):
            out += self._assigned(value.receiver, name)
        return tuple(out)

    def _classes(self, value: Instance | Super) -> tuple[type, ...]:
        if isinstance(value, Instance):
            return value.cls.__mro__
        receiver = value.receiver
        cls = (
            receiver.cls
            if isinstance(receiver, Instance)
            else receiver
            if isinstance(receiver, type)
            else type(receiver)
        )
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
                    ways = self._constructed(value, cls) if method.__name__ == "__init__" else [{}]
                    for given in ways:
                        for frame in self.frames(method, {**given, names[0]: first}):
                            out += [x for e in wanted for x in self.evaluate(e, frame)]
        return tuple(out)

    def _constructed(self, value: Instance, cls: type) -> list[dict[str, Values]]:
        """What ``cls.__init__`` is given when ``value`` is made: by the caller, or by a class that derives from it."""
        makers = [c for c in value.cls.__mro__ if v.owned_code(vars(c).get("__init__"), self.sources.owns)]
        if not makers or makers[0] is cls:
            return [dict(value.arguments)]
        init = vars(cls)["__init__"]
        ways = []
        for maker in makers[: makers.index(cls)]:
            own = vars(maker)["__init__"]
            for given in self._constructed(value, maker):
                for frame in self.frames(own, {**given, **self._first(own, (value,))}):
                    assert not isinstance(frame.node, ast.Module)
                    ways += [self.bind(init, call, frame, (EXTERNAL,)) for call in self.scope(frame.node).inits]
        return ways

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
        first: Values = ()
        if isinstance(value, Bound):
            if value.function is EXTERNAL:
                return (Bag(self.elements((value.receiver,))), *self.elements((value.receiver,)))
            first, value = (value.receiver,), value.function
        target = v.unwrapped(value, self.sources.owns)
        if self.is_own_class(target):
            return (self.instance(target, call, frame),)
        if not self.owned(target):
            return (EXTERNAL,)
        given = self.bind(target, call, frame, first) if frame is not None else self._first(target, first)
        return tuple(x for f in self.frames(target, given) for x in self._returned(f))

    def _first(self, function: object, first: Values) -> dict[str, Values]:
        names = self.parameters_of(function)
        return {names[0]: first} if names and first else {}


def _is_environment(value: object) -> bool:
    kind = type(value)
    return (kind.__module__ or "").startswith("flyte.") and hasattr(value, "depends_on")


def _derived(cls: type) -> list[type]:
    out: list[type] = []
    pending: list[type] = list(type.__subclasses__(cls))
    while pending:
        found = pending.pop()
        out.append(found)
        pending += type.__subclasses__(found)
    return out
