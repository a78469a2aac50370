"""What a condition waits for: values of the four kinds that Flyte's conditions have, as people type them. Pure."""

from __future__ import annotations

from flyteidl2.core import literals_pb2, types_pb2

__all__ = ["kind_of", "literal_of"]

_KINDS = {
    types_pb2.SimpleType.BOOLEAN: "bool",
    types_pb2.SimpleType.INTEGER: "int",
    types_pb2.SimpleType.FLOAT: "float",
    types_pb2.SimpleType.STRING: "str",
}
_WORDS = {"true": True, "yes": True, "false": False, "no": False}


def kind_of(type_: types_pb2.LiteralType) -> str:
    """``bool``, ``int``, ``float`` or ``str``; empty for what is none of these."""
    return _KINDS.get(type_.simple, "") if type_.WhichOneof("type") == "simple" else ""


def literal_of(kind: str, text: str) -> literals_pb2.Literal:
    """``text`` as a value of ``kind``; raises ``ValueError`` that says what was expected."""
    primitive = literals_pb2.Primitive()
    try:
        if kind == "bool":
            primitive.boolean = _WORDS[text.lower()]
        elif kind == "int":
            primitive.integer = int(text)
        elif kind == "float":
            primitive.float_value = float(text)
        else:
            primitive.string_value = text
    except (KeyError, ValueError):
        expected = {"bool": "true or false", "int": "a whole number of at most 64 bits", "float": "a number"}[kind]
        raise ValueError(f"expected {expected}, found {text!r:.80}") from None
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))
