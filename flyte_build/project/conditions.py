"""Which branch of an ``if`` is taken in an image, where the source alone decides it.

Knows the conditions that imports are commonly put under: ``TYPE_CHECKING``, ``__name__ == "__main__"``, Python's
version, the platform. Three-valued: whatever else is asked is unknown (``None``), never guessed. Evaluates syntax,
never code.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["ANYWHERE", "Target", "verdict"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where code will run: ``python`` is ``(3, 11)``, ``machine`` what ``platform.machine()`` says there."""

    python: tuple[int, int] | None = None
    machine: str | None = None


ANYWHERE = Target()
"""For questions that have one answer in every image."""


class _Unknown(Exception):
    pass


class _Version(tuple[int, ...]):
    """``sys.version_info``, of which only the first two numbers are known."""

    __slots__ = ()


_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], object]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.eq,
    ast.IsNot: operator.ne,
}

_CONSTANTS: dict[str, object] = {
    "TYPE_CHECKING": False,
    "typing.TYPE_CHECKING": False,
    "t.TYPE_CHECKING": False,
    "typing_extensions.TYPE_CHECKING": False,
    "sys.platform": "linux",
    "os.name": "posix",
    "sys.implementation.name": "cpython",
    "sys.byteorder": "little",
    "platform.system()": "Linux",
    "platform.python_implementation()": "CPython",
}


def verdict(test: ast.expr, target: Target = ANYWHERE) -> bool | None:
    """Whether ``test`` holds in a module that is imported in ``target``; ``None`` where the source does not tell."""
    if isinstance(test, ast.BoolOp):
        decisive = isinstance(test.op, ast.Or)
        parts = [verdict(part, target) for part in test.values]
        if decisive in parts:
            return decisive
        return None if None in parts else not decisive
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = verdict(test.operand, target)
        return None if inner is None else not inner
    try:
        return bool(_value(test, target))
    except (_Unknown, TypeError, IndexError, ValueError):
        return None


def _value(node: ast.expr, target: Target) -> object:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Tuple):
        return tuple(_value(item, target) for item in node.elts)
    if isinstance(node, ast.Compare):
        return _compare(node, target)
    if isinstance(node, ast.Subscript):
        return _subscript(node, target)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "startswith":
        text = _value(node.func.value, target)
        prefix = _value(node.args[0], target)
        if isinstance(text, str) and isinstance(prefix, str | tuple):
            return text.startswith(prefix)
        raise _Unknown
    return _named(_spelling(node), target)


def _named(name: str, target: Target) -> object:
    if name == "__name__":
        return "a module that is imported"
    if name in ("sys.version_info", "version_info") and target.python is not None:
        return _Version(target.python)
    if name in ("sys.version_info.major", "sys.version_info.minor") and target.python is not None:
        return target.python[name.endswith("minor")]
    if name in ("platform.machine()", "os.uname().machine") and target.machine is not None:
        return target.machine
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    raise _Unknown


def _spelling(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_spelling(node.value)}.{node.attr}"
    if isinstance(node, ast.Call) and not node.args and not node.keywords:
        return f"{_spelling(node.func)}()"
    raise _Unknown


def _subscript(node: ast.Subscript, target: Target) -> object:
    base = _value(node.value, target)
    if not isinstance(base, tuple):
        raise _Unknown
    if isinstance(node.slice, ast.Slice):
        upper = _value(node.slice.upper, target) if node.slice.upper else None
        if node.slice.lower is None and node.slice.step is None and isinstance(upper, int) and 0 <= upper <= 2:
            return tuple(base)[:upper]
        raise _Unknown
    index = _value(node.slice, target)
    if isinstance(index, int) and 0 <= index < 2:
        return base[index]
    raise _Unknown


def _compare(node: ast.Compare, target: Target) -> bool:
    left = _value(node.left, target)
    for op, side in zip(node.ops, node.comparators, strict=True):
        right = _value(side, target)
        compare = _COMPARE.get(type(op))
        if isinstance(op, ast.In | ast.NotIn) and isinstance(right, tuple) and not isinstance(left, _Version):
            holds = (left in right) is isinstance(op, ast.In)
        elif compare is None or isinstance(right, _Version):
            raise _Unknown
        elif isinstance(left, _Version):
            holds = bool(compare(_longer(left, right), right))
        else:
            holds = bool(compare(left, right))
        if not holds:
            return False
        left = right
    return True


def _longer(version: _Version, other: object) -> tuple[int, ...]:
    """``version`` with something behind it, as the real one has; unknown where that would decide."""
    if not isinstance(other, tuple) or (len(other) > 2 and tuple(version) == other[:2]):
        raise _Unknown
    return (*version, 0)
