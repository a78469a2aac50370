"""What importing a module of the project imports in turn: by statement, honouring the conditions it is under.

Follows the project's own modules and ends at everything else, which :mod:`contents` judges against a lock. Knows
nothing of locks; reads syntax, imports nothing.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from .conditions import Target, verdict
from .sources import LocalModule, Sources, own_nodes

__all__ = ["Dynamic", "Import", "Importer", "Need", "Reached", "guarded_lines"]

_REQUIRED, _CONDITIONAL, _OPTIONAL = range(3)
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
class Need:
    """An import of something that is not the project's, in ``file`` (relative to the root).

    ``modules`` are the project's modules from the one asked about to the one that has the import.
    """

    what: Import
    file: str
    modules: tuple[str, ...]

    @property
    def required(self) -> bool:
        """Whether it failing stops the import of the module asked about."""
        return not self.what.optional


@dataclass(frozen=True, slots=True)
class Reached:
    """Everything that importing a module reaches: needs, imports that nobody can tell, files that cannot be read."""

    needs: tuple[Need, ...]
    dynamic: tuple[tuple[str, Dynamic], ...]
    unreadable: tuple[tuple[str, int, str], ...]
    modules: tuple[LocalModule, ...]


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
        caught = any(_catches(h) and not _leaves(h) for h in node.handlers)
        self.block(node.body, replace(context, optional=True) if caught else context)
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


def _state(what: Import) -> int:
    return _OPTIONAL if what.optional or what.when_missing else _CONDITIONAL if what.conditional else _REQUIRED


def _last(node: ast.AST) -> str | None:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None


def _exceptions(node: ast.expr | None) -> list[ast.expr]:
    return list(node.elts) if isinstance(node, ast.Tuple) else [node] if node is not None else []


def _catches(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or any(_last(e) in _CAUGHT for e in _exceptions(handler.type))


def _leaves(handler: ast.ExceptHandler) -> bool:
    """Whether the handler always ends in an exception of its own (or the end of the program)."""
    for statement in handler.body:
        if isinstance(statement, ast.Raise):
            return True
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            called = ast.unparse(statement.value.func)
            if called in ("sys.exit", "exit", "quit", "os._exit", "pytest.skip"):
                return True
    return False


def _suppresses(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _last(node.func) == "suppress" and any(_last(a) in _CAUGHT for a in node.args)


def guarded_lines(tree: ast.Module, package: str = "") -> frozenset[int]:
    """The lines of ``tree`` whose import may fail without harm, in whatever function they are."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef):
            collector = _Collector(package, Target())
            collector.block(node.body, _Context())
            lines.update(i.line for i in collector.found if i.optional)
    return frozenset(lines)


class Importer:
    """Answers for one :class:`Target`; each file is read once."""

    def __init__(self, sources: Sources, target: Target) -> None:
        self._sources = sources
        self.target = target
        self._statements: dict[tuple[str, int], tuple[tuple[Import, ...], tuple[Dynamic, ...]]] = {}

    def statements(self, module: LocalModule, body: Sequence[ast.stmt]) -> tuple[Sequence[Import], Sequence[Dynamic]]:
        """The imports that running ``body`` (of a module, or of a function in it) makes, in order."""
        key = (module.name, id(body))
        if key not in self._statements:
            collector = _Collector(module.package, self.target)
            collector.block(body, _Context())
            self._statements[key] = tuple(collector.found), tuple(collector.dynamic)
        return self._statements[key]

    def reached(self, module: LocalModule) -> Reached:
        """Everything that importing ``module`` imports at module level, through the project's own modules."""
        return self._walk([(m, (), _REQUIRED) for m in self._with_parents(module)])

    def reached_by(self, module: LocalModule, body: Sequence[ast.stmt]) -> Reached:
        """The same for running ``body``, a function's in ``module``."""
        return self._walk([], (module, body))

    def _with_parents(self, module: LocalModule) -> list[LocalModule]:
        parts = module.name.split(".")
        names = [".".join(parts[: i + 1]) for i in range(len(parts))]
        return [m for n in names if (m := self._sources.find(n)) is not None]

    def _walk(
        self,
        start: list[tuple[LocalModule, tuple[str, ...], int]],
        body: tuple[LocalModule, Sequence[ast.stmt]] | None = None,
    ) -> Reached:
        pending = deque(start)
        seen: dict[str, int] = {}
        needs: dict[Need, None] = {}
        dynamic: dict[tuple[str, Dynamic], None] = {}
        unreadable: dict[tuple[str, int, str], None] = {}
        modules: dict[str, LocalModule] = {}

        def statements(owner: LocalModule, run: Sequence[ast.stmt], chain: tuple[str, ...], state: int) -> None:
            assert owner.file is not None
            shown = self._sources.show(owner.file)
            imports, unknown = self.statements(owner, run)
            dynamic.update(dict.fromkeys((shown, d) for d in unknown))
            for item in imports:
                what = replace(
                    item,
                    optional=item.optional or state == _OPTIONAL,
                    conditional=item.conditional or state == _CONDITIONAL,
                )
                for local in self._locals(item):
                    pending.append((local, chain, _state(what)))
                if external := self._external(what):
                    needs[Need(external, shown, chain)] = None

        if body is not None:
            statements(body[0], body[1], (body[0].name,), _REQUIRED)
        while pending:
            module, chain, state = pending.popleft()
            # Reached again under fewer conditions, its imports count for more.
            if module.name in seen and state >= seen[module.name]:
                continue
            seen[module.name] = state
            modules[module.name] = module
            if module.file is None or module.file.suffix != ".py":
                continue
            tree = self._sources.tree(module.file)
            if tree is None:
                why = self._sources.unreadable[module.file]
                unreadable[self._sources.show(module.file), why.line, why.reason] = None
                continue
            statements(module, tree.body, (*chain, module.name), state)
        return Reached(tuple(needs), tuple(dynamic), tuple(unreadable), tuple(modules.values()))

    def _locals(self, item: Import) -> list[LocalModule]:
        """The project's modules that the import runs: the module, the packages above it, submodules among its names."""
        found: list[LocalModule] = []
        parts = item.module.split(".")
        for i in range(len(parts)):
            local = self._sources.find(".".join(parts[: i + 1]))
            if local is None:
                return found
            found.append(local)
        for name in item.names if found[-1].folders else ():
            inner = self._sources.find(f"{item.module}.{name}")
            if inner is not None:
                found.append(inner)
        return found

    def _external(self, item: Import) -> Import | None:
        """What of the import is not the project's."""
        local = self._sources.find(item.module)
        if local is None:
            return item
        if local.file is not None:
            return None
        # A namespace package may have other portions in an installed distribution (PEP 420).
        others = tuple(n for n in item.names if self._sources.find(f"{item.module}.{n}") is None)
        return replace(item, names=others) if others else None
