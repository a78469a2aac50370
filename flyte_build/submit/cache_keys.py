"""Flyte's cache key of a call: by it the outputs of an equal call are found, whoever made it.

The runtime computes it for the calls of a task (``flyte._internal.runtime.convert``); a backend, and we, for the root
of a run, from the same parts: inputs, name, interface and cache version. Pure.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from typing import Any

import msgpack
from flyteidl2.core import interface_pb2, literals_pb2
from flyteidl2.task import common_pb2, task_definition_pb2

from .references import MSGPACK

__all__ = ["cache_key", "inputs_hash", "of_code"]

# What the SDK makes of a function's body, or of other policies: a version that nobody typed.
_DIGEST = re.compile(r"[0-9a-f]{64}")


def cache_key(spec: task_definition_pb2.TaskSpec, inputs: common_pb2.Inputs) -> str:
    """The key of a call of ``spec`` with ``inputs``; empty where its task is not cached."""
    template = spec.task_template
    facts = template.metadata
    if not facts.discoverable:
        return ""
    hashed = inputs_hash(inputs, facts.cache_ignore_input_vars)
    return _hash(f"{hashed}{template.id.name}{_interface(template.interface)}{facts.discovery_version}".encode())


def inputs_hash(inputs: common_pb2.Inputs, ignored: Iterable[str] = ()) -> str:
    """Of values, not of where they lie: a literal that brings a hash counts by it. Empty for no inputs."""
    names = set(ignored)
    literals = [named for named in inputs.literals if named.name not in names]
    return (
        _hash(b"".join(b"%s:%s;" % (named.name.encode(), _value(named.value)) for named in literals))
        if literals
        else ""
    )


def of_code(version: str) -> bool:
    """Whether a cache version stands for code (``auto``), and is not one that a person gave."""
    return _DIGEST.fullmatch(version) is not None


def _value(literal: literals_pb2.Literal) -> bytes:
    if literal.hash:
        return str(literal.hash).encode()
    kind = literal.WhichOneof("value")
    if kind == "collection":
        return b"".join(_value(one) for one in literal.collection.literals)
    if kind == "map":
        return b"".join(name.encode() + _value(one) for name, one in sorted(literal.map.literals.items()))
    if kind == "scalar" and literal.scalar.binary.tag == MSGPACK:
        ordered = literals_pb2.Literal()
        ordered.CopyFrom(literal)
        ordered.scalar.binary.value = _in_order(literal.scalar.binary.value)
        literal = ordered
    data: bytes = literal.SerializeToString(deterministic=True)
    return data


def _in_order(data: bytes) -> bytes:
    """msgpack with the keys of its maps in order; what is none as it is."""
    try:
        packed: bytes = msgpack.packb(_sorted(msgpack.unpackb(data, strict_map_key=False)))
        return packed
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        return data


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=msgpack.packb)}
    return [_sorted(one) for one in value] if isinstance(value, list | tuple) else value


def _interface(interface: interface_pb2.TypedInterface) -> str:
    """Of names and types; their order does not count."""
    ordered = interface_pb2.TypedInterface()
    ordered.CopyFrom(interface)
    for variables in (ordered.inputs.variables, ordered.outputs.variables):
        variables.sort(key=lambda entry: entry.key)
    # Where there are none, looking for them must not have made any.
    for name in ("inputs", "outputs"):
        if not interface.HasField(name):
            ordered.ClearField(name)
    return _hash(ordered.SerializeToString(deterministic=True))


def _hash(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()
