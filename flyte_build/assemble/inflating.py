"""DEFLATE streams that lie in files, inflated and checked: size, CRC-32, and that they end where they should.

A stream that passes has one meaning whatever library inflates it, which is why that may be chosen for speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from .byte_ranges import Reader
from .deflate import SEPARATORS
from .entries import Deflated, Plain

__all__ = ["CHUNK", "JOINED", "WHOLE", "Inflate", "check", "chunks", "joined", "whole"]

JOINED = 64 << 10
"""Bytes, compressed or not, up to which a stream may share a gzip member with others."""

WHOLE = 1 << 20
"""Bytes, compressed or not, up to which a stream is inflated in one piece."""

CHUNK = 256 << 10


class Inflate(Protocol):
    """What is needed of ``zlib``; ``isal.isal_zlib`` is the same and faster."""

    error: type[Exception]

    def decompressobj(self, wbits: int = ..., /) -> Any: ...

    def crc32(self, data: bytes, value: int = ..., /) -> int: ...


def whole(inflate: Inflate, reader: Reader, s: Deflated) -> tuple[bytes, bytes]:
    """A short stream and its content; raises ``ValueError`` or ``inflate.error`` where it is not what ``s`` says."""
    raw = reader.read(s.path, s.offset, s.csize)
    d = inflate.decompressobj(-15)
    data = d.decompress(raw, s.size + 1)
    if not d.eof:  # the last bits of a stream can wait for room that is never used
        data += d.decompress(d.unconsumed_tail, 1)
    check(s, len(data), inflate.crc32(data), ended=d.eof, left=bool(d.unused_data))
    return raw, data


# What follows a stream whose last block was made not to be its last, to learn how many bits of its last byte it leaves.
# Three or more: these are a stored block of 248 bytes, and a last one. Fewer: the first byte is taken for the block's
# header, and the block has 1,792 bytes. Both contents and all that follows are zeros, but for the last blocks.
_PROBE = b"\xf8\x00\x07\xff\xf8" + bytes(247) + b"\3" + bytes(1544) + b"\3\0"
_PROBED = {(248, len(_PROBE) - 254): SEPARATORS[0], (1792, 0): SEPARATORS[1]}


def joined(inflate: Inflate, reader: Reader, s: Deflated) -> tuple[bytes, bytes] | None:
    """A stream of one block as bytes that other blocks can follow, and its content; ``None`` where that cannot be.

    That is: where its first block is not its last, or bits that are left of its last byte would be read as a block's
    header. Whatever is wrong with a stream is ``None``, too: :func:`whole` has the words.
    """
    raw = reader.read(s.path, s.offset, s.csize)
    if not raw or not raw[0] & 1:
        return None
    open_ended = bytes((raw[0] & 0xFE,)) + raw[1:]
    d = inflate.decompressobj(-15)
    try:
        data = d.decompress(open_ended, s.size + 1)
        if len(data) != s.size or inflate.crc32(data) != s.crc32:
            return None
        probed = d.decompress(d.unconsumed_tail + _PROBE, 1793)
    except inflate.error:
        return None
    separator = _PROBED.get((len(probed), len(d.unused_data))) if d.eof else None
    return None if separator is None else (open_ended + separator, data)


def chunks(inflate: Inflate, reader: Reader, s: Deflated) -> Iterator[tuple[bytes, bytes]]:
    """A long stream and its content, piece by piece: either may be empty. Raises as :func:`whole` does, at the end."""
    d = inflate.decompressobj(-15)
    offset, end = s.offset, s.offset + s.csize
    crc = size = 0
    rest = data = b""
    while not d.eof and size <= s.size:
        raw = b""
        if not rest and offset < end:
            rest = raw = reader.read(s.path, offset, min(CHUNK, end - offset))
            offset += len(raw)
        elif not rest and not data:
            break  # nothing to read, and nothing left in the decompressor's own buffers
        data = d.decompress(rest, WHOLE)
        rest = d.unconsumed_tail
        size += len(data)
        crc = inflate.crc32(data, crc)
        yield raw, data
    check(s, size, crc, ended=d.eof, left=bool(d.unused_data) or offset < end)


def check(s: Deflated | Plain, size: int, crc: int, *, ended: bool = True, left: bool = False) -> None:
    """Raises ``ValueError`` where what was found in ``s`` is not what ``s`` says."""
    if s.crc32 == crc and size == s.size and ended and not left:
        return
    if size > s.size:
        raise ValueError(f"expected {s.size} bytes, its DEFLATE stream holds more")
    if not ended:
        raise ValueError(f"expected {s.size} bytes, its DEFLATE stream is cut off after {size}")
    if left:
        raise ValueError("its DEFLATE stream ends before its compressed size")
    if size != s.size:
        raise ValueError(f"expected {s.size} bytes, found {size}")
    if s.crc32 is not None:
        raise ValueError(f"expected CRC-32 {s.crc32:08x}, found {crc:08x}")
