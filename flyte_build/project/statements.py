"""The import statements (and calls) of a piece of source, each with the conditions it is under. Syntax only."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from ..kernel.values import dataclass, field, replace
from .conditions import Target, verdict
from .source_files import own_nodes

__all__ = ["Dynamic", "Import", "collect", "guarded_lines"]

_CAUGHT = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


@dataclass(frozen=True, slots=True)
class Import:
    """One import: ``module`` absolute, ``names`` those of a ``from`` import (empty for ``import module``).

    ``optional``: its failure is caught. ``conditional``: it is under a condition that the source does not decide.
    It happens only where something in each of ``when_missing`` cannot be imported and all of ``when_present`` can.
    """

    module: str
    names: tuple[str, ...]
    line: int
    optional: bool = False
    conditional: bool = False
    when_missing: tuple[tuple[Import, ...], ...] = field(default=(), repr=False)
    when_present: tuple[Import, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Dynamic:
    """An import whose module the source does not tell."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class _Context:
    optional: bool = False
    conditional: bool = False
    when_missing: tuple[tuple[Import, ...], ...] = ()
    when_present: tuple[Import, ...] = ()


class _Collector:
    """Walks statements in order; what it has found is in ``found`` and ``dynamic``."""

    def __init__(self, package: str, target: Target) -> None:
        self.package = package
        self.target = target
        self.found: list[Import] = []
        self.dynamic: list[Dynamic] = []

    def block(self, statements: Iterable[ast.stmt], context: _Context) -> None:
        for statement in statements:
            self.statement(statement, context)

    def statement(self, node: ast.stmt, context: _Context) -> None:
        match node:
            case ast.Import():
                for alias in node.names:
                    self.add(alias.name, (), node.lineno, context)
            case ast.ImportFrom():
                module = self.absolute(node)
                if module:
                    self.add(module, tuple(a.name for a in node.names), node.lineno, context)
            case ast.If():
                self.conditional(node, context)
            case ast.Try() | ast.TryStar():
                self.attempt(node, context)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    self.expression(item.context_expr, context)
                suppressed = any(_suppresses(item.context_expr) for item in node.items)
                self.block(node.body, replace(context, optional=True) if suppressed else context)
            case ast.For() | ast.AsyncFor() | ast.While():
                self.expression(node.test if isinstance(node, ast.While) else node.iter, context)
                self.block([*node.body, *node.orelse], context)
            case ast.ClassDef():
                for outer in (*node.decorator_list, *node.bases):
                    self.expression(outer, context)
                self.block(node.body, context)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for inner in own_nodes([node]):
                    self.call(inner, context)
            case ast.Match():
                self.expression(node.subject, context)
                for case in node.cases:
                    self.block(case.body, replace(context, conditional=True))
            case _:
                self.expression(node, context)

    def add(self, module: str, names: tuple[str, ...], line: int, context: _Context) -> None:
        self.found.append(
            Import(
                module,
                names,
                line,
                context.optional,
                context.conditional,
                context.when_missing,
                context.when_present,
            )
        )

    def absolute(self, node: ast.ImportFrom) -> str | None:
        """PEP 328: one dot is the package itself, each further one its parent."""
        if not node.level:
            return node.module
        parts = self.package.split(".") if self.package else []
        if node.level - 1 >= len(parts):
            return None
        base = parts[: len(parts) - node.level + 1]
        return ".".join([*base, *([node.module] if node.module else [])])

    def conditional(self, node: ast.If, context: _Context) -> None:
        self.expression(node.test, context)
        holds = verdict(node.test, self.target)
        # `if find_spec("x"):` asks what the import itself would tell.
        asks = any(isinstance(n, ast.Attribute | ast.Name) and _last(n) == "find_spec" for n in ast.walk(node.test))
        for body, taken in ((node.body, True), (node.orelse, False)):
            if holds is None:
                self.block(body, replace(context, conditional=True, optional=context.optional or asks))
            elif holds is taken:
                self.block(body, context)

    def attempt(self, node: ast.Try | ast.TryStar, context: _Context) -> None:
        start = len(self.found)
        catching = [_leaves(h) for h in node.handlers if _catches(h)]
        caught, perhaps = False in catching, None in catching
        self.block(
            node.body, replace(context, optional=context.optional or caught, conditional=context.conditional or perhaps)
        )
        tried = tuple(self.found[start:])
        for handler in node.handlers:
            if _catches(handler) and tried:
                inner = replace(context, when_missing=(*context.when_missing, tried))
            else:
                inner = replace(context, conditional=True)
            self.block(handler.body, inner)
        self.block(node.orelse, replace(context, when_present=(*context.when_present, *tried)))
        self.block(node.finalbody, context)

    def expression(self, node: ast.AST, context: _Context) -> None:
        for inner in own_nodes([node]):
            self.call(inner, context)

    def call(self, node: ast.AST, context: _Context) -> None:
        """``importlib.import_module("x")`` and ``__import__("x")``."""
        if not isinstance(node, ast.Call) or _last(node.func) not in ("import_module", "__import__") or not node.args:
            return
        name = node.args[0]
        if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
            self.dynamic.append(Dynamic(node.lineno, ast.unparse(node)))
        elif not name.value.startswith("."):
            self.add(name.value, (), node.lineno, context)
        elif len(node.args) > 1 and "__package__" in ast.unparse(node.args[1]):
            level = len(name.value) - len(name.value.lstrip("."))
            module = self.absolute(ast.ImportFrom(name.value[level:] or None, [], level))
            if module:
                self.add(module, (), node.lineno, context)
        else:
            self.dynamic.append(Dynamic(node.lineno, ast.unparse(node)))


def _last(node: ast.AST) -> str | None:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None


def _exceptions(node: ast.expr | None) -> list[ast.expr]:
    return list(node.elts) if isinstance(node, ast.Tuple) else [node] if node is not None else []


def _catches(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or any(_last(e) in _CAUGHT for e in _exceptions(handler.type))


def _leaves(handler: ast.ExceptHandler) -> bool | None:
    """Whether the handler always ends in an exception of its own (or the end of the program); ``None``: perhaps."""
    branched = False
    for statement in handler.body:
        if isinstance(statement, ast.Raise):
            return None if branched else True
        branched |= any(isinstance(n, ast.Return | ast.Continue | ast.Break) for n in ast.walk(statement))
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            called = ast.unparse(statement.value.func)
            if called in ("sys.exit", "exit", "quit", "os._exit", "pytest.skip"):
                return None if branched else True
    return False


def _suppresses(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _last(node.func) == "suppress" and any(_last(a) in _CAUGHT for a in node.args)


def guarded_lines(tree: ast.Module, package: str = "") -> frozenset[int]:
    """The lines of ``tree`` whose import may fail without harm, in whatever function they are."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef):
            found, _ = collect(node.body, package, Target())
            lines.update(i.line for i in found if i.optional)
    return frozenset(lines)


def collect(body: Iterable[ast.stmt], package: str, target: Target) -> tuple[tuple[Import, ...], tuple[Dynamic, ...]]:
    """The imports that running ``body`` makes in ``target``, in order; ``package`` is what relative ones start from."""
    collector = _Collector(package, target)
    collector.block(body, _Context())
    return tuple(collector.found), tuple(collector.dynamic)
