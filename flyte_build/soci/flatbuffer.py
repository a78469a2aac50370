"""Values → a FlatBuffer (flatbuffers.dev, "FlatBuffer Internals"), as far as tables of contents need: little-endian.

Written from the front, which the format allows as long as references lead forward: each table is followed by what it
refers to. Knows tables, vectors and strings; never leaves out a field, so a default is written like any other value.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Bytes", "Scalar", "Table", "Value", "encode"]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number: ``kind`` is what ``struct`` calls it (``b``, ``i``, ``I``, ``q``)."""

    kind: str
    value: int


@dataclass(frozen=True, slots=True)
class Bytes:
    """A vector of bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Table:
    """Fields in the order of their ids in the schema."""

    fields: Sequence[Value]


Value = Scalar | str | Bytes | Table | Sequence["Value"]


def encode(root: Table) -> bytes:
    """The buffer of ``root``."""
    out = bytearray(4)
    struct.pack_into("<I", out, 0, _put(out, root))
    return bytes(out)


def _put(out: bytearray, value: Value) -> int:
    """Append what ``value`` is; where it begins, which is what refers to it."""
    if isinstance(value, Table):
        return _table(out, value)
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogateescape")
        return _sized(out, len(data), data + b"\0")
    if isinstance(value, Bytes):
        return _sized(out, len(value.data), value.data)
    if isinstance(value, Scalar):
        raise TypeError("expected something to refer to, found a number")
    start = _sized(out, len(value), bytes(4 * len(value)))
    for i, item in enumerate(value):
        _refer(out, start + 4 + 4 * i, _put(out, item))
    return start


def _sized(out: bytearray, count: int, data: bytes) -> int:
    _align(out, 4)
    start = len(out)
    out += struct.pack("<I", count) + data
    return start


def _table(out: bytearray, table: Table) -> int:
    """The field offsets of a table (its vtable), the table, and all that it refers to."""
    widths = [struct.calcsize(f.kind) if isinstance(f, Scalar) else 4 for f in table.fields]
    places, size = [], 4
    # The table begins on a multiple of eight, less four: so that what follows its own reference is aligned for all.
    for width in widths:
        size += -size % width if width < 8 else -(size + 4) % 8
        places.append(size)
        size += width
    vtable = struct.pack(f"<{2 + len(places)}H", 4 + 2 * len(places), size, *places)
    while (len(out) + len(vtable)) % 8 != 4:
        out.append(0)
    out += vtable
    start = len(out)
    out += struct.pack("<i", len(vtable)) + bytes(size - 4)
    for place, field in zip(places, table.fields, strict=True):
        if isinstance(field, Scalar):
            struct.pack_into("<" + field.kind, out, start + place, field.value)
    for place, field in zip(places, table.fields, strict=True):
        if not isinstance(field, Scalar):
            _refer(out, start + place, _put(out, field))
    return start


def _refer(out: bytearray, at: int, target: int) -> None:
    struct.pack_into("<I", out, at, target - at)


def _align(out: bytearray, to: int) -> None:
    out += bytes(-len(out) % to)
