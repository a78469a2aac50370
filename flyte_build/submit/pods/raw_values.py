"""Values of container tasks: what is in a literal as text, and what a file's text is as a literal.

As Flyte's copilot has it for raw containers: one value a file, numbers as they are printed, dates in RFC 3339,
durations in seconds (``1.5s``). Pure.
"""

from __future__ import annotations

from typing import Any

from flyteidl2.core import literals_pb2, types_pb2

__all__ = ["NotText", "json_of", "literal_of", "text_of", "unreadable"]

_SIMPLE = types_pb2.SimpleType


class NotText(ValueError):
    """A value, or a text, that is not one of those that a container task takes or gives."""


def json_of(literal: literals_pb2.Literal) -> Any:
    """The value as JSON has it: dates and durations as texts. Raises :class:`NotText`."""
    if literal.HasField("collection"):
        return [json_of(one) for one in literal.collection.literals]
    if literal.HasField("map"):
        return {key: json_of(one) for key, one in literal.map.literals.items()}
    scalar = literal.scalar
    if scalar.HasField("none_type"):
        return None
    if scalar.HasField("union"):
        return json_of(scalar.union.value)
    if scalar.HasField("blob"):
        return scalar.blob.uri
    if not scalar.HasField("primitive"):
        raise NotText("a value of a kind that no container task takes")
    kind = scalar.primitive.WhichOneof("value")
    value = getattr(scalar.primitive, kind)
    return value.ToJsonString() if kind in ("datetime", "duration") else value


def text_of(value: Any) -> str:
    """A value of :func:`json_of` in a file, or in an argument."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{','.join(text_of(one) for one in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{text_of(one)}' for key, one in value.items())}}}"
    return "" if value is None else str(value)


def unreadable(kind: types_pb2.LiteralType) -> bool:
    """Whether no file of a container is such an output."""
    return not (kind.HasField("blob") or (kind.HasField("simple") and 1 <= kind.simple <= 6))


def literal_of(text: str, kind: types_pb2.LiteralType) -> literals_pb2.Literal:
    """The output that a file's ``text`` is. Raises :class:`NotText` for one that is none of its type."""
    found = literals_pb2.Literal()
    primitive = found.scalar.primitive
    word = text.strip()
    try:
        if kind.simple == _SIMPLE.INTEGER:
            primitive.integer = int(word)
        elif kind.simple == _SIMPLE.FLOAT:
            primitive.float_value = float(word)
        elif kind.simple == _SIMPLE.BOOLEAN:
            if word.lower() not in ("true", "false", "1", "0"):
                raise ValueError("neither true nor false")
            primitive.boolean = word.lower() in ("true", "1")
        elif kind.simple == _SIMPLE.DATETIME:
            primitive.datetime.FromJsonString(word)
        elif kind.simple == _SIMPLE.DURATION:
            primitive.duration.FromJsonString(word)
        else:
            primitive.string_value = text
    except (ValueError, OverflowError) as e:
        name = _SIMPLE.Name(kind.simple).lower()
        raise NotText(f"expected {name}, found {word[:60]!r}: {e}") from None
    return found
