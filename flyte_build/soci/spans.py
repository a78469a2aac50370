"""A layer's blob → the spans in which it can be read: runs of whole gzip members, which need nothing from before.

A member of ours begins with ten bytes that are always the same and refers to nothing outside of itself, so its
beginning is a checkpoint without a window. A stream of a large file is one member, and so one span, however long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from isal import isal_zlib

__all__ = ["SPAN", "Foreign", "Member", "Span", "members", "spans"]

HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
TRAILER = 8
SPAN = 4 << 20
"""Bytes of tar that a span has at least, but for the last one: what the reference tool asks for by default."""
_CHUNK = 256 << 10
_ERROR = cast("type[Exception]", isal_zlib.error)


class Foreign(Exception):
    """The blob is not made of members as ours are."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where a gzip member begins in the blob, and in the tar stream; ``size`` is what it inflates to, in bytes."""

    compressed: int
    plain: int
    size: int


@dataclass(frozen=True, slots=True)
class Span:
    """Where the DEFLATE stream of its first member begins, and the tar that it holds."""

    compressed: int
    plain: int


def members(blob: BinaryIO) -> Iterator[Member]:
    """The members of ``blob``, open at its start. Raises :class:`Foreign` for other bytes than ours would be."""
    held, start, plain = b"", 0, 0
    while True:
        while len(held) < len(HEADER) and (more := blob.read(_CHUNK)):
            held += more
        if not held:
            return
        if not held.startswith(HEADER):
            raise Foreign(f"expected a gzip member at byte {start}, as flyte-build writes them")
        inflater, size, taken = isal_zlib.decompressobj(-15), 0, len(HEADER)
        held = held[taken:]
        while True:
            taken += len(held)
            try:
                size += len(inflater.decompress(held))
            except _ERROR as e:
                raise Foreign(f"the gzip member at byte {start} is damaged: {e}") from None
            if inflater.eof:
                break
            held = blob.read(_CHUNK)
            if not held:
                raise Foreign(f"the gzip member at byte {start} is cut off")
        held = inflater.unused_data
        taken -= len(held)
        while len(held) < TRAILER and (more := blob.read(_CHUNK)):
            held += more
        if len(held) < TRAILER:
            raise Foreign(f"the gzip member at byte {start} is cut off")
        held = held[TRAILER:]
        yield Member(start, plain, size)
        start, plain = start + taken + TRAILER, plain + size


def spans(found: Iterator[Member], least: int = SPAN) -> tuple[list[Span], int]:
    """The spans that ``found`` are read in, and the bytes of tar in all.

    One has ``least`` bytes or more, and ends where a member begins; a member of so many has a span of its own.
    """
    out: list[Span] = []
    end = 0
    for member in found:
        if not out or member.plain - out[-1].plain >= least or (member.size >= least and member.plain > out[-1].plain):
            out.append(Span(member.compressed + len(HEADER), member.plain))
        end = member.plain + member.size
    return out, end
