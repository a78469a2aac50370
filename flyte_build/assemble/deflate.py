"""The only encoder for fresh bytes: DEFLATE (RFC 1951) whose output no library can change, by ``docs/deflate.md``.

A host's zlib compresses differently from the next one's (zlib, zlib-ng, processor-dependent isal), so a blob that any
of them encoded has no digest of its own (law 3). Little items (tar's headers between streams) take fixed codes with
runs at distance 1, piece by piece; the rest is for ``matches.py`` and ``huffman.py``. An item begins and ends on a
byte, so that streams can lie beside it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import lru_cache

__all__ = ["END", "LITTLE", "SEPARATORS", "deflate"]

LITTLE = 4096
"""Items up to this many bytes are encoded piece by piece: tables would cost more than they save."""

SEPARATORS = b"\0\0\xff\xff", b"\0\0\0\xff\xff"
"""An empty stored block after three or more bits of zero that are left of a byte; and where fewer are left."""

END = b"\3\0"
"""The last block of a stream, empty, on a byte."""

_RUN = re.compile(rb"(.)\1{3,}", re.DOTALL)
_LONGEST, _SHORTEST = 258, 3
_CACHED = 512


def _tables() -> tuple[list[str], dict[int, str]]:
    """Codes by literal and by match length (at distance 1), written last bit first (RFC 1951, 3.2.5 and 3.2.6).

    A Huffman code goes into the stream from its most significant bit on, extra bits from the least; strings
    are read as one integer whose bit 0 is the stream's first, so Huffman codes are reversed and extra bits not.
    """
    literals = [f"{0x30 + b:08b}"[::-1] if b < 144 else f"{0x190 + b - 144:09b}"[::-1] for b in range(256)]
    distance = "00000"
    matches = {}
    symbol, length = 257, _SHORTEST
    for extra, symbols in ((0, 8), (1, 4), (2, 4), (3, 4), (4, 4), (5, 4)):
        for _ in range(symbols):
            code = f"{symbol - 256:07b}"[::-1] if symbol < 280 else f"{0xC0 + symbol - 280:08b}"[::-1]
            for value in range(1 << extra):
                matches[length + value] = distance + (f"{value:0{extra}b}" if extra else "") + code
            symbol, length = symbol + 1, length + (1 << extra)
    matches[_LONGEST] = distance + f"{0xC0 + 285 - 280:08b}"[::-1]
    return literals, matches


_LITERAL, _MATCH = _tables()


def _lengths(run: int) -> Iterator[int]:
    """Match lengths that add up to ``run`` (at least 3), each between 3 and 258."""
    while run > _LONGEST:
        step = _LONGEST if run - _LONGEST >= _SHORTEST else run - _SHORTEST
        yield step
        run -= step
    yield run


def _encode(piece: bytes) -> tuple[int, int]:
    """``piece`` as an integer of bits, the stream's first bit lowest, and their number."""
    codes: list[str] = []
    literal = _LITERAL.__getitem__
    at = 0
    for run in _RUN.finditer(piece):
        start, end = run.span()
        codes.extend(map(literal, piece[at : start + 1]))
        codes.extend(_MATCH[length] for length in _lengths(end - start - 1))
        at = end
    codes.extend(map(literal, piece[at:]))
    codes.reverse()
    bits = "".join(codes)
    return int(bits or "0", 2), len(bits)


_encode_cached = lru_cache(maxsize=4096)(_encode)


def deflate(*pieces: bytes, last: bool = True) -> bytes:
    """The concatenated ``pieces`` as whole blocks; ``last`` ends a stream, else more blocks can follow.

    In an item of up to :data:`LITTLE` bytes runs are not looked for across pieces, so the division is part of the
    input: equal divisions give equal bytes, on every Python. In return a tar header's constant fields are encoded
    once.
    """
    size = sum(map(len, pieces))
    if size > LITTLE:
        return _large(b"".join(pieces), last)
    bits, count = 0b010, 3  # BFINAL = 0, BTYPE = 01
    for piece in pieces:
        more, width = _encode_cached(piece) if len(piece) <= _CACHED else _encode(piece)
        bits |= more << count
        count += width
    count += 7  # end of block: seven zero bits
    if count >= 8 * (size + 5):
        return _stored_header(size) + b"".join(pieces) + (END if last else SEPARATORS[1])
    return _ended(bits, count, last)


def _ended(bits: int, count: int, last: bool) -> bytes:
    """``count`` bits, and what makes them end on a byte."""
    if last:
        return (bits | 0b011 << count).to_bytes((count + 17) // 8, "little")
    return bits.to_bytes((count + 10) // 8, "little") + SEPARATORS[0]


def _stored_header(size: int) -> bytes:
    """The five bytes before ``size`` (at most 65,535) stored bytes, where their block begins on a byte."""
    return struct.pack("<BHH", 0, size, size ^ 0xFFFF)


def _large(data: bytes, last: bool) -> bytes:
    from .matches import blocks

    out = bytearray()
    held = ""  # up to seven bits, the last first
    for block in blocks(data):
        size = block.end - block.start
        if 3 + -(len(held) + 3) % 8 + 32 + 8 * size <= min(block.dynamic, block.fixed):
            out += int(held or "0", 2).to_bytes((len(held) + 10) // 8, "little")
            out += struct.pack("<HH", size, size ^ 0xFFFF)
            out += data[block.start : block.end]
            held = ""
            continue
        bits = block.bits() + held
        left = len(bits) % 8
        out += int(bits[left:], 2).to_bytes(len(bits) // 8, "little")
        held = bits[:left]
    return bytes(out) + _ended(int(held or "0", 2), len(held), last)
