"""The key of a call, as the SDK that is installed computes it."""

from __future__ import annotations

import msgpack
import pytest
from flyte._internal.runtime import convert
from flyteidl2.core import interface_pb2, literals_pb2, types_pb2
from flyteidl2.task import common_pb2, task_definition_pb2

from flyte_build.submit.cache_keys import cache_key, inputs_hash, of_code

BODY = "5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592"


def _literal(value: object) -> literals_pb2.Literal:
    if isinstance(value, list):
        return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=map(_literal, value)))
    if isinstance(value, dict):
        return literals_pb2.Literal(map=literals_pb2.LiteralMap(literals={k: _literal(v) for k, v in value.items()}))
    primitive = literals_pb2.Primitive(integer=value) if isinstance(value, int) else None
    primitive = primitive or literals_pb2.Primitive(string_value=str(value))
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))


def _packed(value: object) -> literals_pb2.Literal:
    binary = literals_pb2.Binary(tag="msgpack", value=msgpack.packb(value))
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=binary))


def _hashed(value: object) -> literals_pb2.Literal:
    found = _literal(value)
    found.hash = "by-content"
    return found


def _inputs(**values: literals_pb2.Literal) -> common_pb2.Inputs:
    return common_pb2.Inputs(literals=[common_pb2.NamedLiteral(name=k, value=v) for k, v in values.items()])


INPUTS = [
    common_pb2.Inputs(),
    _inputs(x=_literal(1)),
    _inputs(y=_literal("a"), x=_literal([1, [2, "b"]])),
    _inputs(m=_literal({"b": 1, "a": {"c": 2}}), h=_hashed("moved"), lst=_literal([1])),
    _inputs(p=_packed({"b": {"z": 1, "a": [1, {"d": 1, "c": 2}]}, "a": None})),
]


def _spec(version: str, ignored: list[str], names: str = "yx") -> task_definition_pb2.TaskSpec:
    spec = task_definition_pb2.TaskSpec()
    template = spec.task_template
    template.id.name = "env.val"
    template.metadata.discoverable = True
    template.metadata.discovery_version = version
    template.metadata.cache_ignore_input_vars.extend(ignored)
    for name in names:
        kind = interface_pb2.Variable(type=types_pb2.LiteralType(simple=types_pb2.SimpleType.INTEGER))
        template.interface.inputs.variables.add(key=name).value.CopyFrom(kind)
    return spec


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("ignored", [[], ["x"]])
@pytest.mark.parametrize("names", ["", "yx"])
def test_it_is_the_key_that_the_runtime_gives_the_same_call(
    inputs: common_pb2.Inputs, ignored: list[str], names: str
) -> None:
    spec = _spec("v1", ignored, names)
    theirs = convert.generate_cache_key_hash(
        "env.val", convert.generate_inputs_hash_from_proto(inputs), spec.task_template.interface, "v1", ignored, inputs
    )
    assert cache_key(spec, inputs) == theirs
    assert inputs_hash(inputs) == convert.generate_inputs_hash_from_proto(inputs)


def test_a_task_that_is_not_cached_has_none() -> None:
    spec = _spec("v1", [])
    spec.task_template.metadata.discoverable = False
    assert cache_key(spec, INPUTS[1]) == ""


def test_a_golden_key() -> None:
    assert cache_key(_spec("v1", []), INPUTS[1]) == "wVbt4kKLiz7vb8+4iZiEJGbWJhp0AxiVDR7+89w1eY8="
    assert cache_key(_spec("v2", []), INPUTS[1]) != "wVbt4kKLiz7vb8+4iZiEJGbWJhp0AxiVDR7+89w1eY8="


@pytest.mark.parametrize(
    ("version", "code"), [(BODY, True), ("v1", False), ("", False), (BODY[:-1], False), (BODY.upper(), False)]
)
def test_a_version_of_code_is_told_from_one_that_a_person_gave(version: str, code: bool) -> None:
    assert of_code(version) is code
