"""Descriptions of tasks as bytes, each read once: the thousands of actions of a map have one, and hold it once.

Pure, and bounded: a run calls few tasks. What is given here belongs to all who ask, and is changed by nobody.
"""

from __future__ import annotations

from functools import lru_cache

from flyteidl2.task import task_definition_pb2

__all__ = ["KEPT", "parsed", "serialized"]

KEPT = 64
"""So many descriptions are kept, the last ones that were asked for."""


def serialized(spec: task_definition_pb2.TaskSpec) -> bytes:
    """Its bytes: for an equal one the same object."""
    return _one(spec.SerializeToString(deterministic=True))


@lru_cache(KEPT)
def parsed(data: bytes) -> task_definition_pb2.TaskSpec:
    """The description that ``data`` is."""
    return task_definition_pb2.TaskSpec.FromString(data)


@lru_cache(KEPT)
def _one(data: bytes) -> bytes:
    return data
