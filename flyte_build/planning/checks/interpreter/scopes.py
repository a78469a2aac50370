"""What a function's source binds to its names, and what it gives back. Syntax only, without order: a name that is
bound twice may be either, which errs on the side of a call too many."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from ....kernel.values import dataclass
from ....project.conditions import verdict
from ....project.source_files import Function, own_nodes, parts_of_if

__all__ = ["Binding", "Scope", "body_of", "live_nodes", "parameters", "scope_of"]

Body: TypeAlias = Function | ast.Module

_FILLING = {"append", "add", "insert", "extend", "update", "setdefault", "appendleft", "put", "put_nowait"}


@dataclass(frozen=True, slots=True)
class Binding:
    """One way in which a name gets a value.

    ``value``: that of the expression; ``element``: one out of it; ``bag``: the name's container gets it; ``enter``:
    what its context manager gives; ``import``: the module ``module`` (or its ``attribute``); ``define``: the function.
    """

    kind: Literal["value", "element", "bag", "enter", "import", "define"]
    node: ast.expr | Function | None = None
    module: str = ""
    level: int = 0
    attribute: str | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """``hard`` names are local to the function; ``soft`` ones only within a comprehension, so that they hide nothing.

    ``attributes`` are assignments to an attribute of a name: ``(name, attribute, expression)``;
    ``inits`` are calls of a constructor, as ``super().__init__(…)``.
    """

    hard: dict[str, list[Binding]]
    soft: dict[str, list[Binding]]
    outer: frozenset[str]
    returns: tuple[ast.expr, ...]
    yields: tuple[ast.expr, ...]
    attributes: tuple[tuple[str, str, ast.expr], ...]
    inits: tuple[ast.Call, ...]


def body_of(node: Body) -> Sequence[ast.AST]:
    """What runs when ``node`` is called (or imported)."""
    return [node.body] if isinstance(node, ast.Lambda) else node.body


def live_nodes(node: Body) -> Iterable[ast.AST]:
    """The nodes of :func:`body_of` that can run: branches never taken, and functions only defined, are left out."""

    def skip(inner: ast.AST) -> Iterable[ast.AST] | None:
        if isinstance(inner, ast.If) and (holds := verdict(inner.test)) is not None:
            return parts_of_if(inner, holds)
        return None

    return own_nodes(body_of(node), skip)


def parameters(node: Function) -> tuple[list[str], str | None, str | None]:
    """Names in order (positional, then keyword-only), and the names of ``*args`` and ``**kwargs``."""
    a = node.args
    names = [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    return names, a.vararg.arg if a.vararg else None, a.kwarg.arg if a.kwarg else None


class _Builder:
    def __init__(self) -> None:
        self.hard: dict[str, list[Binding]] = {}
        self.soft: dict[str, list[Binding]] = {}
        self.outer: set[str] = set()
        self.returns: list[ast.expr] = []
        self.yields: list[ast.expr] = []
        self.attributes: list[tuple[str, str, ast.expr]] = []
        self.inits: list[ast.Call] = []

    def bind(self, name: str, binding: Binding, table: dict[str, list[Binding]] | None = None) -> None:
        (self.hard if table is None else table).setdefault(name, []).append(binding)

    def assign(
        self, target: ast.expr, value: ast.expr, kind: Literal["value", "element", "enter"], soft: bool = False
    ) -> None:
        match target:
            case ast.Name():
                self.bind(target.id, Binding(kind, value), self.soft if soft else self.hard)
            case ast.Starred():
                self.assign(target.value, value, "value" if kind == "value" else kind, soft)
            case ast.Tuple() | ast.List():
                parts = value.elts if isinstance(value, ast.Tuple | ast.List) and kind == "value" else []
                plain = len(parts) == len(target.elts) and not any(
                    isinstance(x, ast.Starred) for x in (*parts, *target.elts)
                )
                for i, inner in enumerate(target.elts):
                    self.assign(inner, parts[i] if plain else value, "value" if plain else "element", soft)
            case ast.Subscript(value=ast.Name(id=name)):
                # A container only: the name itself may be a global one.
                self.bind(name, Binding("bag", value), self.soft)
            case ast.Attribute(value=ast.Name(id=name)):
                self.attributes.append((name, target.attr, value))
            case _:
                pass

    def node(self, node: ast.AST) -> None:
        match node:
            case ast.Assign():
                for target in node.targets:
                    self.assign(target, node.value, "value")
            case ast.AnnAssign(value=ast.expr() as value) | ast.AugAssign(value=value):
                self.assign(node.target, value, "value")
            case ast.NamedExpr():
                self.assign(node.target, node.value, "value")
            case ast.For() | ast.AsyncFor():
                self.assign(node.target, node.iter, "element")
            case ast.comprehension():
                self.assign(node.target, node.iter, "element", soft=True)
            case ast.withitem(optional_vars=ast.expr() as target):
                self.assign(target, node.context_expr, "enter")
            case ast.Import():
                for alias in node.names:
                    module = alias.name if alias.asname else alias.name.partition(".")[0]
                    self.bind(alias.asname or module, Binding("import", module=module))
            case ast.ImportFrom():
                for alias in node.names:
                    self.bind(
                        alias.asname or alias.name,
                        Binding("import", module=node.module or "", level=node.level, attribute=alias.name),
                    )
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.bind(node.name, Binding("define", node))
            case ast.ClassDef():
                self.bind(node.name, Binding("value"))
            case ast.Global() | ast.Nonlocal():
                self.outer.update(node.names)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in _FILLING:
                for argument in (*node.args, *(k.value for k in node.keywords)):
                    self.bind(name, Binding("bag", argument), self.soft)
            case ast.Call(func=ast.Attribute(attr="__init__")):
                self.inits.append(node)
            case ast.Return(value=ast.expr() as value):
                self.returns.append(value)
            case ast.Yield(value=ast.expr() as value) | ast.YieldFrom(value=value):
                self.yields.append(value)
            case _:
                pass


def scope_of(node: Body) -> Scope:
    """The scope of a function (or of a module's own statements)."""
    builder = _Builder()
    hidden: set[int] = set()
    for inner in live_nodes(node):
        if id(inner) in hidden:
            continue
        if isinstance(inner, ast.ClassDef):
            # A class's body binds names of its own.
            hidden.update(id(x) for x in own_nodes(inner.body))
        builder.node(inner)
    if isinstance(node, ast.Lambda):
        builder.returns.append(node.body)
    return Scope(
        builder.hard,
        builder.soft,
        frozenset(builder.outer),
        tuple(builder.returns),
        tuple(builder.yields),
        tuple(builder.attributes),
        tuple(builder.inits),
    )
