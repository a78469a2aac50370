"""One function's own statements: the tasks it uses, the functions of the project it goes on to, and what it leaves open.

Each callable that an expression may mean is judged by where it stands: called, handed to something that calls it,
handed to something unknown, or merely looked at.
"""

from __future__ import annotations

import ast
import builtins
import functools
import sys
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from ...standins import is_stand_in
from . import values as v
from .conditions import verdict
from .evaluate import Evaluator, Frame
from .scopes import body_of, parameters
from .sources import parts_of_if
from .values import EXTERNAL, Aio, Bag, Bound, Instance, Local, Override, Partial, Values

__all__ = ["Certainty", "Edge", "Summary", "Use", "Walker"]


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


_CALLING = frozenset(
    "map amap filter reduce starmap imap imap_unordered apply apply_async to_thread run_sync run_in_executor submit "
    "call_soon call_soon_threadsafe Thread Process Timer retry_call".split()
)
"""Functions of others, by their last name, that call what they are given."""

_LOOKING = frozenset(
    "print isinstance issubclass repr str len id type hash bool dir vars hasattr callable getattr format cast debug info "
    "warning error exception critical log wraps update_wrapper signature getsource iscoroutinefunction partial "
    "list tuple set frozenset sorted reversed iter next enumerate zip dict".split()
)
"""Functions of others that do not call what they are given (what they pass on is followed)."""

_LAUNCHING = frozenset({"run", "deploy", "serve"})
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


class _Walk:
    def __init__(self, evaluator: Evaluator, frame: Frame, named: object) -> None:
        self.e = evaluator
        self.frame = frame
        self.named = named
        self.summary = Summary()

    # -- what is found -----------------------------------------------------------------------------

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
            self.use((value.func,), certainty, ast.Pass(lineno=line))
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

    # -- nodes -------------------------------------------------------------------------------------

    def visit(self, node: ast.AST, certainty: Certainty | None) -> None:
        """``certainty``: that of a call of what the expression gives; ``None`` where it is only looked at."""
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
                names = ("__iter__", "__next__", "__aiter__", "__anext__", "__getitem__")
                self.method(self.e.evaluate(node.iter, self.frame), names, node.iter)
                self.children(node, None)
            case ast.withitem():
                names = ("__enter__", "__exit__", "__aenter__", "__aexit__")
                self.method(self.e.evaluate(node.context_expr, self.frame), names, node.context_expr)
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
            if node.func.attr in _CALLING:
                given = Certainty.SURE
            elif node.func.attr in _LOOKING:
                given = None
        self._undecided(node, called)
        for argument in (*node.args, *(k.value for k in node.keywords)):
            self.visit(argument, given)
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
        if (type(value).__module__ or "").startswith("flyte._map") or name in _CALLING:
            return Certainty.SURE
        if name in _LOOKING:
            return None
        if name in _LAUNCHING and (value is EXTERNAL or _of_flyte(value)):
            return Certainty.PERHAPS
        return Certainty.MAY

    def _followed(self, cls: type) -> bool:
        """Whether arguments of the constructor are followed to where they are used."""
        return self.e.owned(getattr(cls, "__init__", None)) or hasattr(cls, "__dataclass_fields__")

    def _by_name(self, node: ast.Call) -> None:
        assert isinstance(node.func, ast.Attribute) and callable(self.named)
        for cls, method in self.named(node.func.attr):
            bound = Bound(Instance(cls, maybe_derived=True), method)
            self.follow(bound, Certainty.PERHAPS, node.lineno, node)

    def _undecided(self, node: ast.Call, called: Values) -> None:
        name = _last(node.func)
        if any(id(value) in _CODE for value in called):
            if not (name == "__import__" and node.args and isinstance(node.args[0], ast.Constant)):
                self.note(node, "what this code does cannot be told before it runs")
        elif name == "import_module" and node.args and not isinstance(node.args[0], ast.Constant):
            self.note(node, "which module this imports cannot be told before it runs")
        elif name == "getattr" and len(node.args) > 1 and not isinstance(node.args[1], ast.Constant):
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
