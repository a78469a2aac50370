"""Values as people type them, for what a condition asks."""

from __future__ import annotations

import pytest
from flyteidl2.core import types_pb2

from flyte_build.submit.conditions import kind_of, literal_of


@pytest.mark.parametrize(
    ("kind", "text", "field", "value"),
    [
        ("bool", "true", "boolean", True), ("bool", "No", "boolean", False), ("bool", "y", "boolean", True),
        ("int", "-7", "integer", -7),
        ("float", "0.5", "float_value", 0.5), ("str", "true", "string_value", "true"), ("", "x", "string_value", "x"),
    ],
)  # fmt: skip
def test_a_value_of_each_kind(kind: str, text: str, field: str, value: object) -> None:
    primitive = literal_of(kind, text).scalar.primitive
    assert primitive.WhichOneof("value") == field
    assert getattr(primitive, field) == value


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("bool", "maybe", "expected true or false, found 'maybe'"),
        ("int", "1.5", "expected a whole number"),
        ("int", "9" * 30, "expected a whole number of at most 64 bits"),
        ("float", "much", "expected a number"),
    ],
)
def test_a_value_that_is_none_of_its_kind(kind: str, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        literal_of(kind, text)


def test_the_kinds_are_those_of_flytes_conditions() -> None:
    simple = types_pb2.SimpleType
    kinds = [kind_of(types_pb2.LiteralType(simple=s)) for s in (simple.BOOLEAN, simple.INTEGER, simple.STRING)]
    assert kinds == ["bool", "int", "str"]
    assert kind_of(types_pb2.LiteralType(simple=simple.DATETIME)) == ""
    assert kind_of(types_pb2.LiteralType()) == ""
