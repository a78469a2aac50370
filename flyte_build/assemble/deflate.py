"""The only encoder for fresh bytes: a fixed, tiny DEFLATE (RFC 1951) whose output no library can change.

A host's zlib compresses differently from the next one's (zlib, zlib-ng, processor-dependent isal), so a blob
that any of them encoded has no digest of its own (law 3). What is fresh in a layer is small and dull: tar
headers, RECORDs, scripts. One block of fixed Huffman codes with runs of equal bytes as matches at
distance 1 takes the zeros out of it, and that is all this encoder does. It never searches for matches.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import lru_cache

__all__ = ["BLOCK", "LIMIT", "deflate", "stored", "stored_block"]

BLOCK = 65535
"""Bytes in the longest stored block (RFC 1951, 3.2.4: LEN has 16 bits)."""

LIMIT = 1 << 16
"""Longer inputs are stored: bit strings are slow in Python, and what is long is seldom runs."""

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


def deflate(*pieces: bytes) -> bytes:
    """One complete raw DEFLATE stream of the concatenated ``pieces``.

    Runs are not looked for across pieces, so the division is part of the input: equal divisions give equal
    bytes, on every Python. In return a tar header's constant fields are encoded once.
    """
    size = sum(map(len, pieces))
    if size > LIMIT:
        return stored(b"".join(pieces))
    bits, count = 0b011, 3  # BFINAL = 1, BTYPE = 01
    for piece in pieces:
        more, width = _encode_cached(piece) if len(piece) <= _CACHED else _encode(piece)
        bits |= more << count
        count += width
    count += 7  # end of block: seven zero bits
    length = (count + 7) // 8
    if length >= size + 5 * max(1, -(-size // BLOCK)):
        return stored(b"".join(pieces))
    return bits.to_bytes(length, "little")


def stored_block(size: int, *, final: bool) -> bytes:
    """The five bytes before ``size`` (at most 65,535) stored bytes that begin on a byte boundary."""
    return struct.pack("<BHH", final, size, size ^ 0xFFFF)


def stored(data: bytes) -> bytes:
    """One complete raw DEFLATE stream of ``data`` in stored blocks."""
    out = bytearray()
    for at in range(0, max(len(data), 1), BLOCK):
        block = data[at : at + BLOCK]
        out += stored_block(len(block), final=at + BLOCK >= len(data))
        out += block
    return bytes(out)
