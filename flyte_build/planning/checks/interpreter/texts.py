"""Strings that are written out in the source: names in ``getattr(x, name)`` and ``table[name]`` that are no secret.

All or nothing: one unknown among them makes the whole unknown, so that nothing is decided on a part of the truth.
"""

from __future__ import annotations

import ast

from .frames import Frame, Frames

__all__ = ["texts_of"]


def texts_of(frames: Frames, node: ast.expr, frame: Frame) -> list[str] | None:
    """The strings that ``node`` may be, if every one of them is written out; ``None`` otherwise."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else None
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        parts = [texts_of(frames, e, frame) for e in node.elts]
        return [text for part in parts if part is not None for text in part] if None not in parts else None
    if not isinstance(node, ast.Name):
        return None
    scope = frames.scope(frame.node)
    bindings = [*scope.hard.get(node.id, ()), *scope.soft.get(node.id, ())]
    if bindings and not isinstance(frame.node, ast.Module):
        found: list[str] = []
        for binding in bindings:
            if not isinstance(binding.node, ast.Constant | ast.Tuple | ast.List | ast.Set):
                return None
            part = texts_of(frames, binding.node, frame)
            if part is None or (binding.kind == "value") is not isinstance(binding.node, ast.Constant):
                return None
            found += part
        return found
    values = frames.name(node.id, frame)
    return [x for x in values if isinstance(x, str)] if len(values) == 1 and isinstance(values[0], str) else None
