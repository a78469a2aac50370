"""One function's own statements, walked: each callable that an expression may mean is judged by where it stands:
called, handed to something that calls it, handed to something unknown, or merely looked at.
"""

from __future__ import annotations

import ast
import builtins
import sys
import types
from collections.abc import Callable, Iterator
from typing import TypeAlias

from ....project.conditions import verdict
from ....project.source_files import parts_of_if
from ....project.stubs import is_stand_in
from . import values as v
from .evaluate import Evaluator, Frame
from .scopes import body_of, parameters
from .texts import texts_of
from .uses import Certainty, Edge, Finds, Summary
from .values import EXTERNAL, Aio, Bound, Instance, Local, Override, Partial, Values
from .vocabulary import CALLING, LAUNCHING, LOOKING

__all__ = ["Walker"]

_Named: TypeAlias = Callable[[str], list[tuple[type, object]]]

_ITERATING = ("__iter__", "__next__", "__aiter__", "__anext__", "__getitem__")
_ENTERING = ("__enter__", "__exit__", "__aenter__", "__aexit__")
_CODE = {id(getattr(builtins, n)): n for n in ("eval", "exec", "__import__")}


class Walker:
    """Walks frames; a frame is walked once."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._summaries: dict[tuple[object, ...], Summary] = {}
        self._methods: dict[str, list[tuple[type, object]]] | None = None

    def summary(self, frame: Frame) -> Summary:
        if frame.key not in self._summaries:
            walk = _Walk(self._evaluator, frame, self._named)
            for node in body_of(frame.node):
                walk.visit(node, None if not isinstance(frame.node, ast.Lambda) else Certainty.MAY)
            self._summaries[frame.key] = walk.summary
        return self._summaries[frame.key]

    def _named(self, name: str) -> list[tuple[type, object]]:
        """The project's methods of this name: what a call on something unknown may mean."""
        if self._methods is None:
            self._methods = {}
            classes: dict[int, type] = {}
            for module in list(sys.modules.values()):
                file = getattr(module, "__file__", None) if isinstance(module, types.ModuleType) else None
                if not file or is_stand_in(module) or self._evaluator.sources.find(module.__name__) is None:
                    continue
                classes.update((id(x), x) for x in vars(module).values() if self._evaluator.is_own_class(x))
            for cls in classes.values():
                for attribute, method in vars(cls).items():
                    if isinstance(method, types.FunctionType):
                        self._methods.setdefault(attribute, []).append((cls, method))
        return self._methods.get(name, [])


class _Walk(Finds):
    """A walk; ``named`` gives the project's methods of a name."""

    def __init__(self, evaluator: Evaluator, frame: Frame, named: _Named) -> None:
        super().__init__(evaluator, frame)
        self._named = named

    def visit(self, node: ast.AST, certainty: Certainty | None) -> None:
        """``certainty``: that of a call of what the expression gives; ``None`` where it is only looked at."""
        self.e.rounds.spend()
        match node:
            case ast.Call():
                self.call(node, certainty)
            case ast.Name() | ast.Attribute() | ast.Subscript():
                self.reference(node, certainty)
            case ast.Lambda():
                for default in (*node.args.defaults, *node.args.kw_defaults):
                    if default is not None:
                        self.visit(default, Certainty.MAY)
                if certainty is not None:
                    self.use((Local(node, self.frame),), certainty, node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.defined(node)
            case ast.ClassDef():
                for around in (*node.decorator_list, *node.bases, *(k.value for k in node.keywords)):
                    self.visit(around, None)
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                        if not isinstance(self.frame.node, ast.Module):
                            self.use((Local(inner, self.frame),), Certainty.MAY, inner)
                    else:
                        self.visit(inner, None)
            case ast.If():
                self.visit(node.test, None)
                for inner in parts_of_if(node, verdict(node.test)):
                    self.visit(inner, None)
            case ast.Assign() | ast.AnnAssign() | ast.NamedExpr() | ast.AugAssign():
                self.assigned(node, certainty)
            case ast.For() | ast.AsyncFor() | ast.comprehension():
                self.method(self.e.evaluate(node.iter, self.frame), _ITERATING, node.iter)
                self.children(node, None)
            case ast.withitem():
                self.method(self.e.evaluate(node.context_expr, self.frame), _ENTERING, node.context_expr)
                self.visit(node.context_expr, None)
            case ast.Return() | ast.Await() | ast.Starred() | ast.Expr() | ast.IfExp() | ast.BoolOp():
                self.children(node, None if isinstance(node, ast.Return | ast.Expr) else certainty)
            case ast.Yield() | ast.YieldFrom():
                self.children(node, Certainty.MAY)
            case ast.Compare() | ast.FormattedValue() | ast.JoinedStr():
                self.children(node, None)
            case ast.List() | ast.Tuple() | ast.Set() | ast.Dict() | ast.GeneratorExp() | ast.ListComp():
                self.children(node, min(certainty, Certainty.MAY) if certainty is not None else None)
            case _:
                self.children(node, certainty if isinstance(node, ast.expr) else None)

    def children(self, node: ast.AST, certainty: Certainty | None) -> None:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr_context | ast.operator):
                self.visit(child, certainty)

    def assigned(
        self, node: ast.Assign | ast.AnnAssign | ast.NamedExpr | ast.AugAssign, certainty: Certainty | None
    ) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            self.visit(target, None)
        if node.value is None:
            return
        # What a local name holds is judged where the name is used.
        scope = self.e.scope(self.frame.node)
        local = not isinstance(self.frame.node, ast.Module) and all(
            isinstance(n, ast.Name) and n.id not in scope.outer for t in targets for n in _targets(t)
        )
        self.visit(node.value, certainty if local else max(certainty or Certainty.MAY, Certainty.MAY))

    def defined(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default, None)
        for decorator in node.decorator_list:
            self.visit(decorator, None)
            for value in self.e.evaluate(decorator, self.frame):
                for target in self.e.wrapped(value) if not isinstance(value, type) else ():
                    if self.e.owned(target):
                        given = self.e.bind(target, None, self.frame, (Local(node, self.frame),))
                        frames = self.e.frames(target, given)
                        self.summary.edges.extend(Edge(f, Certainty.SURE, decorator.lineno) for f in frames)

    def reference(self, node: ast.Name | ast.Attribute | ast.Subscript, certainty: Certainty | None) -> None:
        if not isinstance(node.ctx, ast.Load):
            if isinstance(node, ast.Attribute | ast.Subscript):
                self.visit(node.value, None)
            return
        if isinstance(node, ast.Attribute):
            self.property(node)
            self.visit(node.value, None)
        elif isinstance(node, ast.Subscript):
            self.visit(node.value, None)
            self.visit(node.slice, None)
            self.method(self.e.evaluate(node.value, self.frame), ("__getitem__",), node)
        if certainty is not None:
            self.use(self.e.evaluate(node, self.frame), certainty, node)

    def property(self, node: ast.Attribute) -> None:
        for value in self.e.evaluate(node.value, self.frame):
            cls = value.cls if isinstance(value, Instance) else type(value)
            for base in cls.__mro__ if self.e.is_own_class(cls) else ():
                found = vars(base).get(node.attr)
                getter = found.fget if isinstance(found, property) else getattr(found, "func", None)
                if isinstance(getter, types.FunctionType):
                    self.follow(Bound(value, getter), Certainty.SURE, node.lineno, None)
                    break

    # -- calls -------------------------------------------------------------------------------------

    def call(self, node: ast.Call, certainty: Certainty | None) -> None:
        called = self.e.evaluate(node.func, self.frame)
        self.visit(node.func, None)
        given: Certainty | None = Certainty.MAY
        judged: list[Certainty | None] = []
        for value in called:
            self.use((value,), Certainty.SURE, node, node)
            judged.append(self._hands_on(value, node))
        if judged:
            given = max((j for j in judged if j is not None), default=None)
        elif isinstance(node.func, ast.Attribute):
            self._by_name(node)
            if node.func.attr in CALLING:
                given = Certainty.SURE
            elif node.func.attr in LOOKING:
                given = None
        self._undecided(node, called)
        for argument in node.args:
            # Nobody writes a lambda to have it looked at.
            self.visit(argument, Certainty.MAY if given is None and self._thrown_in(argument, called) else given)
        for keyword in node.keywords:
            self.visit(keyword.value, Certainty.SURE if keyword.arg == "key" and given is None else given)
        if certainty is not None:
            results = [x for value in called for x in self._results(value, node)]
            self.use(results, certainty, node)

    def _results(self, value: object, node: ast.Call) -> Iterator[object]:
        if v.is_task(value) or isinstance(value, Aio):
            return
        for found in self.e.evaluate(node, self.frame):
            if not isinstance(found, Instance):
                yield found

    def _hands_on(self, value: object, node: ast.Call) -> Certainty | None:
        """What happens to callables among the arguments of a call of ``value``."""
        if isinstance(value, Partial):
            return self._hands_on(value.function, node)
        if v.is_task(value) or isinstance(value, Aio | Override) or v.is_remote(value):
            return Certainty.MAY
        if isinstance(value, Bound) and value.function is EXTERNAL:
            return None
        if any(self.e.owned(t) for t in self.e.wrapped(value.function if isinstance(value, Bound) else value)):
            return None
        if isinstance(value, type) and self.e.is_own_class(value):
            return Certainty.MAY if not self._followed(value) else None
        name = _last(node.func) or ""
        of = value.receiver if isinstance(value, Bound) else value
        if type(of).__module__ == "flyte._map" or name in CALLING:
            return Certainty.SURE
        if name in LOOKING:
            return None
        if name in LAUNCHING and (value is EXTERNAL or _of_flyte(value)):
            return Certainty.PERHAPS
        return Certainty.MAY

    def _thrown_in(self, argument: ast.expr, called: Values) -> bool:
        return isinstance(argument, ast.Lambda) and not any(t for x in called for t in self.e.wrapped(x))

    def _followed(self, cls: type) -> bool:
        """Whether arguments of the constructor are followed to where they are used."""
        return self.e.owned(getattr(cls, "__init__", None)) or hasattr(cls, "__dataclass_fields__")

    def _by_name(self, node: ast.Call) -> None:
        assert isinstance(node.func, ast.Attribute)
        for cls, method in self._named(node.func.attr):
            bound = Bound(Instance(cls, maybe_derived=True), method)
            self.follow(bound, Certainty.PERHAPS, node.lineno, node)

    def _undecided(self, node: ast.Call, called: Values) -> None:
        name = _last(node.func)
        if any(id(value) in _CODE for value in called):
            if not (name == "__import__" and node.args and texts_of(self.e, node.args[0], self.frame)):
                self.note(node, "what this code does cannot be told before it runs")
        elif name == "import_module" and node.args and texts_of(self.e, node.args[0], self.frame) is None:
            self.note(node, "which module this imports cannot be told before it runs")
        elif name == "getattr" and len(node.args) > 1 and texts_of(self.e, node.args[1], self.frame) is None:
            if any(self._ours(x) for x in self.e.evaluate(node.args[0], self.frame)):
                self.note(node, "which attribute this gives cannot be told before it runs")
        elif not called and isinstance(node.func, ast.Call | ast.Subscript):
            if not _is_dynamic(node.func):
                self.note(node, "what is called here cannot be told from the source")
        elif not called and isinstance(node.func, ast.Name):
            scope = self.e.scope(self.frame.node)
            bound = node.func.id in scope.hard or node.func.id in scope.soft
            if not bound and not isinstance(self.frame.node, ast.Module):
                names, rest, keywords = parameters(self.frame.node)
                bound = node.func.id in (*names, rest, keywords)
            if bound:
                self.note(node, f"`{node.func.id}` is called, and what it is cannot be told from the source")

    def _ours(self, value: object) -> bool:
        if isinstance(value, types.ModuleType):
            return self.e.sources.find(value.__name__) is not None
        return isinstance(value, Instance) or (value is not EXTERNAL and self.e.is_own_class(type(value)))


def _targets(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, ast.Tuple | ast.List):
        for inner in target.elts:
            yield from _targets(inner)
    elif isinstance(target, ast.Starred):
        yield from _targets(target.value)
    else:
        yield target


def _last(node: ast.expr) -> str | None:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None


def _is_dynamic(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _last(node.func) in ("getattr", "import_module", "eval")


def _of_flyte(value: object) -> bool:
    return any((getattr(x, "__module__", None) or "").startswith("flyte.") for x in (value, type(value)))
