"""Descriptions of tasks: one for the thousands of actions that have it."""

from __future__ import annotations

from flyteidl2.task import task_definition_pb2

from flyte_build.submit.specs import parsed, serialized


def _spec(name: str) -> task_definition_pb2.TaskSpec:
    spec = task_definition_pb2.TaskSpec()
    spec.task_template.id.name = name
    return spec


def test_equal_descriptions_are_held_once() -> None:
    first, second = serialized(_spec("one")), serialized(_spec("one"))
    assert first is second
    assert first == _spec("one").SerializeToString(deterministic=True)
    assert serialized(_spec("another")) != first
    assert parsed(first) == _spec("one")
    assert parsed(bytes(bytearray(first))) is parsed(first), "by what it says, and not by which object says it"
