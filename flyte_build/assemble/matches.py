"""Bytes → literals and matches (LZ77), block by block, and a block's bits. ``docs/deflate.md`` is the rule.

Written for what Python is fast at: all positions' candidates come from one pass with a dictionary, stretches without
any are skipped by ``find``, symbols are counted and replaced by the interpreter's own loops. Holds one item at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache

from . import huffman

__all__ = ["BLOCK", "Block", "blocks"]

BLOCK = 32 << 10
"""Bytes after which a block of codes ends, with the match that reaches there."""

_WINDOW = 32768
_NONE = -_WINDOW - 1
_SHORTEST, _LONGEST = 4, 258
_NICE = 16
"""A match of so many bytes is taken without a look at the next position."""

_END = 256
# Symbols here: literals, the end, 256 + a length, and from here on distances.
_FAR = 600


class Block:
    """The symbols of the bytes from ``start`` to ``end``, and what they take in bits either way.

    ``dynamic`` and ``fixed`` count the block's type, too.
    """

    def __init__(self, start: int, end: int, symbols: list[int]) -> None:
        self.start, self.end = start, end
        symbols.append(_END)
        self._symbols, self._counts = symbols, Counter(symbols)
        literal_of, _, distance_of, _ = _tables()
        literals, distances = [0] * huffman.LITERALS, [0] * huffman.DISTANCES
        extra = 0
        for symbol, count in self._counts.items():
            if symbol <= _END:
                literals[symbol] = count
            elif symbol < _FAR:
                number = literal_of[symbol - 256]
                literals[number] += count
                extra += _length_extra(number) * count
            else:
                number = distance_of[symbol - _FAR]
                distances[number] += count
                extra += _distance_extra(number) * count
        self._lengths = (
            huffman.code_lengths(literals, huffman.LONGEST), huffman.code_lengths(distances, huffman.LONGEST)
        )  # fmt: skip
        self._described = huffman.described(*self._lengths)
        used = ((literals, self._lengths[0], _fixed_lengths()), (distances, self._lengths[1], [5] * huffman.DISTANCES))
        self.dynamic, self.fixed = 3 + len(self._described) + extra, 3 + extra
        for counts, own, fixed in used:
            self.dynamic += sum(map(int.__mul__, counts, own))
            self.fixed += sum(map(int.__mul__, counts, fixed))

    def bits(self) -> str:
        """The block in whichever codes are shorter, fixed ones if both are as long; its last bit first."""
        if self.fixed <= self.dynamic:
            return self._coded(_fixed_lengths(), [5] * huffman.DISTANCES) + "010"
        return self._coded(*self._lengths) + self._described + "100"

    def _coded(self, literal_lengths: list[int], distance_lengths: list[int]) -> str:
        literals, distances = huffman.codes(literal_lengths), huffman.codes(distance_lengths)
        literal_of, literal_extra, distance_of, distance_extra = _tables()
        code = dict(enumerate(literals[: _END + 1]))
        for symbol in self._counts:
            if symbol >= _FAR:
                d = symbol - _FAR
                code[symbol] = distance_extra[d] + distances[distance_of[d]]
            elif symbol > _END:
                code[symbol] = literal_extra[symbol - 256] + literals[literal_of[symbol - 256]]
        return "".join(map(code.__getitem__, reversed(self._symbols)))


def _length_extra(symbol: int) -> int:
    return 0 if symbol < 265 or symbol == 285 else (symbol - 261) // 4


def _distance_extra(symbol: int) -> int:
    return max(0, symbol // 2 - 1)


@cache
def _fixed_lengths() -> list[int]:
    return [8] * 144 + [9] * 112 + [7] * 24 + [8] * 8


@cache
def _tables() -> tuple[list[int], list[str], list[int], list[str]]:
    """By length, its symbol and the bits that follow it; the same by distance (RFC 1951, 3.2.5)."""
    literal_of, literal_extra = [0] * 3, [""] * 3
    for symbol in range(257, 285):
        bits = _length_extra(symbol)
        literal_of += [symbol] * (1 << bits)
        literal_extra += [f"{value:0{bits}b}" if bits else "" for value in range(1 << bits)]
    literal_of[_LONGEST:], literal_extra[_LONGEST:] = [285], [""]
    distance_of, distance_extra = [0], [""]
    for symbol in range(huffman.DISTANCES):
        bits = _distance_extra(symbol)
        distance_of += [symbol] * (1 << bits)
        distance_extra += [f"{value:0{bits}b}" if bits else "" for value in range(1 << bits)]
    return literal_of, literal_extra, distance_of, distance_extra


def _keys(data: bytes) -> list[int]:
    """The four bytes at each position, as one number that only ever is compared."""
    size = len(data)
    keys, view = [0] * (size - 3), memoryview(data)
    for first in range(4):
        keys[first::4] = view[first : first + (size - first) // 4 * 4].cast("I").tolist()
    return keys


def blocks(data: bytes) -> Iterator[Block]:
    """``data``, at least four bytes, as blocks of symbols."""
    size, keys, last = len(data), _keys(data), dict[int, int]()
    # By position, the last one before with the same four bytes, and whether it is near enough.
    links, found = list[int](), bytearray(len(keys))
    add, get = links.append, last.get
    for at, key in enumerate(keys):
        there = get(key, _NONE)
        add(there)
        last[key] = at
        if at - there <= _WINDOW:
            found[at] = 1
    del last
    # Beyond the end nothing is equal, and no index is wrong.
    keys += range(-1, -2 * _LONGEST, -1)
    padded = data + bytes(2 * _LONGEST)

    def common(at: int, there: int) -> int:
        n = _SHORTEST
        while keys[at + n] == keys[there + n] and n < _LONGEST:
            n += 4
        while n < _LONGEST and padded[at + n] == padded[there + n]:
            n += 1
        return min(n, _LONGEST, size - at)

    def longest(at: int) -> tuple[int, int]:
        there = links[at]
        n, distance = common(at, there), at - there
        there = links[there]
        if at - there <= _WINDOW and padded[at + n] == padded[there + n] and (m := common(at, there)) > n:
            return m, at - there
        return n, distance

    at = 0
    while at < size:
        start, stop, symbols = at, min(at + BLOCK, size), list[int]()
        while at < stop:
            match = found.find(1, at, stop)
            if match < 0:
                symbols += data[at:stop]
                at = stop
                break
            symbols += data[at:match]
            length, distance = longest(match)
            if length < _NICE and found[match + 1 : match + 2] == b"\1":
                longer, further = longest(match + 1)
                if longer > length:
                    symbols.append(data[match])
                    match, length, distance = match + 1, longer, further
            symbols += (256 + length, _FAR + distance)
            at = match + length
        yield Block(start, at, symbols)
