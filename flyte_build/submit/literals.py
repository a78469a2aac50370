"""Flyte's literals → plain JSON values, for people and machines who read a run's outputs. Only reads.

Files and folders become paths on this machine where they lie in a run, and stay URIs elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
from flyteidl2.core import literals_pb2
from flyteidl2.task import common_pb2
from google.protobuf import json_format

from .storage import Storage

__all__ = ["plain_outputs"]


def plain_outputs(outputs: bytes, storage: Storage) -> dict[str, Any]:
    """The outputs of an action by name (``o0``, ``o1``, …), as values JSON can hold."""

    def local(uri: str) -> str:
        try:
            return str(storage.path(uri))
        except ValueError:
            return uri

    return {named.name: _plain(named.value, local) for named in common_pb2.Outputs.FromString(outputs).literals}


def _plain(literal: literals_pb2.Literal, local: Callable[[str], str]) -> Any:
    kind = literal.WhichOneof("value")
    if kind == "collection":
        return [_plain(item, local) for item in literal.collection.literals]
    if kind == "map":
        return {key: _plain(item, local) for key, item in literal.map.literals.items()}
    if kind == "scalar":
        try:
            return _scalar(literal.scalar, local)
        except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
            # A moment after the year 9999, msgpack that is none: a task's affair, and no reason not to show the rest.
            return f"<{literal.scalar.WhichOneof('value')}>"
    return None


def _scalar(scalar: literals_pb2.Scalar, local: Callable[[str], str]) -> Any:
    kind = scalar.WhichOneof("value")
    if kind == "primitive":
        primitive = scalar.primitive
        which = primitive.WhichOneof("value")
        if which == "datetime":
            return primitive.datetime.ToJsonString()
        if which == "duration":
            return primitive.duration.seconds + primitive.duration.nanos / 1e9
        return getattr(primitive, which) if which else None
    if kind in ("blob", "structured_dataset"):
        return local(getattr(scalar, kind).uri)
    if kind == "union":
        return _plain(scalar.union.value, local)
    if kind == "binary" and scalar.binary.tag == "msgpack":
        return _located(msgpack.unpackb(scalar.binary.value, strict_map_key=False), local)
    if kind == "generic":
        return json_format.MessageToDict(scalar.generic)
    if kind is None or kind == "none_type":
        return None
    return f"<{kind}>"


def _located(value: Any, local: Callable[[str], str]) -> Any:
    """flyte.io's File and Dir inside a dataclass or model are objects with a ``path``."""
    if isinstance(value, dict):
        return {
            str(k): local(v) if k == "path" and isinstance(v, str) else _located(v, local) for k, v in value.items()
        }
    if isinstance(value, list):
        return [_located(item, local) for item in value]
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    return value if value is None or isinstance(value, str | int | float) else f"<{type(value).__name__}>"
