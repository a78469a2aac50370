"""The two codes that Zstandard is written in (RFC 8878, section 4), FSE and Huffman, and bits read backwards.

Part of ``zstd``; knows nothing of frames and blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["LENGTHS", "LITERALS", "OFFSETS", "Backwards", "Fse", "Huffman", "ZstdError", "fse_table", "huffman_table"]


class ZstdError(ValueError):
    """What is no Zstandard; the message says where it is not."""


class Backwards:
    """Bits from the last one of ``data`` to the first; its highest set bit marks the end and is none of them."""

    def __init__(self, data: bytes) -> None:
        if not data or not data[-1]:
            raise ZstdError("a stream of bits without its end")
        self._data, self._at = data, len(data) - 1
        self._have = data[-1].bit_length() - 1
        self._bits = data[-1] & (1 << self._have) - 1

    @property
    def left(self) -> int:
        """Bits that are there yet; negative where more were taken."""
        return self._have + 8 * self._at

    def fill(self, need: int) -> None:
        """Have ``need`` bits at hand, as far as there are that many."""
        if self._have < need and self._at:
            start = max(0, self._at - 32)
            piece = self._data[start : self._at]
            self._bits = self._bits << 8 * len(piece) | int.from_bytes(piece, "little")
            self._have += 8 * len(piece)
            self._at = start

    def take(self, count: int) -> int:
        """The next ``count`` bits, the first the highest. Raises :class:`ZstdError` where there are not that many."""
        if self._have < count:
            self.fill(count)
            if self._have < count:
                raise ZstdError("expected more bits, found the stream's end")
        self._have -= count
        found = self._bits >> self._have
        self._bits &= (1 << self._have) - 1
        return found

    def padded(self, count: int) -> int:
        """The next ``count`` bits, with zeros behind the last one, for what ends when they run out."""
        if self.left >= count:
            return self.take(count)
        short = count - max(self.left, 0)
        found = self.take(count - short) << short if self.left > 0 else 0
        self._have -= short
        return found


@dataclass(frozen=True, slots=True)
class Fse:
    """A decoding table of ``1 << log`` rows: symbol, bits to read, and what they are added to for the next state."""

    log: int
    rows: Sequence[tuple[int, int, int]]


def fse_table(log: int, counts: Sequence[int]) -> Fse:
    """The table of a distribution (section 4.1.1): ``counts`` by symbol, -1 for less than one."""
    size = 1 << log
    symbols, next_of, high = [0] * size, list(counts), size
    for symbol, count in enumerate(counts):
        if count == -1:
            high -= 1
            symbols[high] = symbol
            next_of[symbol] = 1
    step, position = (size >> 1) + (size >> 3) + 3, 0
    for symbol, count in enumerate(counts):
        for _ in range(max(count, 0)):
            symbols[position] = symbol
            position = position + step & size - 1
            while position >= high:
                position = position + step & size - 1
    if position:
        raise ZstdError("a distribution that does not fill its table")
    rows = []
    for symbol in symbols:
        state = next_of[symbol]
        next_of[symbol] += 1
        bits = log - state.bit_length() + 1
        rows.append((symbol, bits, (state << bits) - size))
    return Fse(log, rows)


def _described(data: bytes, at: int, most: int, symbols: int) -> tuple[Fse, int]:
    """The table that is described at ``at`` of ``data``, and where what follows begins."""
    value, end = int.from_bytes(data[at : at + 512], "little"), 8 * len(data[at : at + 512])
    log, used = (value & 15) + 5, 4
    if log > most:
        raise ZstdError(f"a table of {log} bits, more than {most}")
    left = 1 << log
    counts: list[int] = []
    while left > 0 and len(counts) < symbols:
        bits = (left + 1).bit_length()
        number = value >> used & (1 << bits) - 1
        low, spare = (1 << bits - 1) - 1, (1 << bits) - 2 - left
        if number & low < spare:
            number &= low
            used += bits - 1
        else:
            number -= spare if number > low else 0
            used += bits
        count = number - 1
        left -= abs(count)
        counts.append(count)
        more = 3 if count == 0 else 0
        while more == 3:
            more = value >> used & 3
            used += 2
            counts += [0] * more
    if left or used > end or len(counts) > symbols:
        raise ZstdError("a distribution that is cut off, or no distribution")
    return fse_table(log, counts), at + (used + 7) // 8


@dataclass(frozen=True, slots=True)
class _Kind:
    """One of the three numbers of a sequence: its table where none is given, its limits, and what a symbol means."""

    usual: Fse
    most: int
    numbers: Sequence[tuple[int, int]]

    def table(self, mode: int, block: bytes, at: int, before: Fse | None) -> tuple[Fse, int]:
        """The table in force (section 3.1.1.3.2.1), and where what follows it begins."""
        if mode == 0:
            return self.usual, at
        if mode == 1:
            if at >= len(block) or block[at] >= len(self.numbers):
                raise ZstdError("a symbol that there is not")
            return Fse(0, [(block[at], 0, 0)]), at + 1
        if mode == 2:
            return _described(block, at, self.most, len(self.numbers))
        if before is None:
            raise ZstdError("a table is to be used again, and there was none")
        return before, at


def _numbers(first: int, bits: Sequence[int]) -> list[tuple[int, int]]:
    """What symbols stand for: numbers one after the other, each as wide as its bits."""
    out = []
    for width in bits:
        out.append((first, width))
        first += 1 << width
    return out


LITERALS = _Kind(
    fse_table(6, [4, 3, *[2] * 11, 1, 1, 1, *[2] * 9, 3, 2, *[1] * 5, *[-1] * 4]),
    9,
    _numbers(0, [*[0] * 16, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
)
LENGTHS = _Kind(
    fse_table(6, [1, 4, 3, *[2] * 6, *[1] * 37, *[-1] * 7]),
    9,
    _numbers(3, [*[0] * 32, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
)
OFFSETS = _Kind(fse_table(5, [*[1] * 6, 2, 2, 2, *[1] * 15, *[-1] * 5]), 8, [(0, 0)] * 32)


class Huffman:
    """A prefix code: for each ``log`` bits the symbol that they begin with, and how many of them it has."""

    def __init__(self, weights: Sequence[int]) -> None:
        total = sum(1 << weight - 1 for weight in weights if weight)
        if not total:
            raise ZstdError("a tree without leaves")
        self.log = total.bit_length()
        rest = (1 << self.log) - total
        if self.log > 11 or rest & rest - 1:
            raise ZstdError("weights that are no tree's")
        every = [*weights, rest.bit_length()]
        rows: list[tuple[int, int]] = []
        for weight in range(1, self.log + 1):
            for symbol, own in enumerate(every):
                if own == weight:
                    rows += [(symbol, self.log + 1 - weight)] * (1 << weight - 1)
        if len(rows) != 1 << self.log or len(every) > 256:
            raise ZstdError("weights that are no tree's")
        self._rows = rows

    def decoded(self, data: bytes, size: int) -> bytes:
        """The ``size`` symbols of one stream (section 4.2.2)."""
        if not data or not data[-1]:
            raise ZstdError("a stream of bits without its end")
        at, have = len(data) - 1, data[-1].bit_length() - 1
        bits, log, rows, mask = data[-1] & (1 << have) - 1, self.log, self._rows, (1 << self.log) - 1
        # With zeros behind the last bit, so that it is found like the others.
        data, at = bytes(2) + data, at + 2
        out = bytearray()
        while len(out) < size:
            if have < log:
                start = max(0, at - 48)
                if start == at:
                    raise ZstdError("expected more literals, found the stream's end")
                bits = (bits & (1 << have) - 1) << 8 * (at - start) | int.from_bytes(data[start:at], "little")
                have += 8 * (at - start)
                at = start
            for _ in range(min(have // log, size - len(out))):
                symbol, used = rows[bits >> have - log & mask]
                have -= used
                out.append(symbol)
        if have + 8 * at != 16:
            raise ZstdError("bits behind the last literal")
        return bytes(out)


def huffman_table(block: bytes, at: int) -> tuple[Huffman, int]:
    """The tree that is described at ``at`` of ``block`` (section 4.2.1), and where what follows begins."""
    head = block[at] if at < len(block) else 0
    at += 1
    if head >= 128:
        count = head - 127
        packed = block[at : at + (count + 1) // 2]
        if len(packed) != (count + 1) // 2:
            raise ZstdError("a tree that is cut off")
        return Huffman([half for byte in packed for half in (byte >> 4, byte & 15)][:count]), at + len(packed)
    end = at + head
    if not head or end > len(block):
        raise ZstdError("a tree that is cut off")
    table, at = _described(block[:end], at, 6, 256)
    return Huffman(_weights(table, block[at:end])), end


def _weights(table: Fse, data: bytes) -> list[int]:
    """Two states take turns until the bits run out; then the other one's symbol is the last."""
    bits = Backwards(data)
    one, other = bits.take(table.log), bits.take(table.log)
    out: list[int] = []
    while len(out) < 255:
        symbol, need, base = table.rows[one]
        out.append(symbol)
        one = base + bits.padded(need)
        if bits.left < 0:
            return [*out, table.rows[other][0]]
        one, other = other, one
    raise ZstdError("more weights than there are symbols")
