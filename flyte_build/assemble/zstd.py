"""Zstandard (RFC 8878), unpacked by the standard library alone: what a Python before 3.14 has no module for.

Plain and slow, some megabytes a second: whoever has a library hands that in instead, and the same bytes come out. No
dictionaries. Frames' checksums are not looked at, as what is unpacked here was held against its SHA-256 before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, TypeAlias

from .zstd_tables import LENGTHS, LITERALS, OFFSETS, Backwards, Fse, Huffman, ZstdError, huffman_table

__all__ = ["Unpack", "ZstdError", "unpack_zstd"]

_MAGIC, _SKIPPED = 0xFD2FB528, 0x184D2A50
# The largest window that is taken: what `zstd --ultra --long=27` asks for.
_MOST_WINDOW = 1 << 27
_BLOCK = 1 << 17
# Bits that one sequence takes at most: three numbers, and three states.
_ONE = 31 + 16 + 16 + 9 + 9 + 8


Unpack: TypeAlias = Callable[[BinaryIO, BinaryIO, int], None]
"""The type of :func:`unpack_zstd`, and of what does the same faster."""


def unpack_zstd(source: BinaryIO, out: BinaryIO, most: int) -> None:
    """Write to ``out`` what the frames in ``source`` unpack to, ``most`` bytes at most. Raises :class:`ZstdError`."""
    frames = 0
    while head := source.read(4):
        magic = int.from_bytes(head, "little")
        if magic & 0xFFFFFFF0 == _SKIPPED and len(head) == 4:
            _exactly(source, int.from_bytes(_exactly(source, 4), "little"))
        elif magic == _MAGIC:
            most -= _Frame(source, out, most).unpack()
            frames += 1
        else:
            raise ZstdError("expected a frame of Zstandard, found none")
    if not frames:
        raise ZstdError("expected a frame of Zstandard, found nothing")


def _exactly(source: BinaryIO, size: int) -> bytes:
    found = source.read(size)
    if len(found) != size:
        raise ZstdError(f"expected {size} bytes, found {len(found)}: truncated")
    return found


class _Frame:
    """One frame (RFC 8878, section 3.1.1), from behind its magic number."""

    def __init__(self, source: BinaryIO, out: BinaryIO, most: int) -> None:
        self._source, self._out, self._most = source, out, most
        described = _exactly(source, 1)[0]
        single = described >> 5 & 1
        if described & 0x08:
            raise ZstdError("a reserved bit is set")
        window = 0
        if not single:
            byte = _exactly(source, 1)[0]
            base = 1 << (10 + (byte >> 3))
            window = base + base // 8 * (byte & 7)
        if any(_exactly(source, (0, 1, 2, 4)[described & 3])):
            raise ZstdError("it is packed with a dictionary")
        width = (single, 2, 4, 8)[described >> 6]
        size = int.from_bytes(_exactly(source, width), "little") + (256 if width == 2 else 0)
        self._size = size if width else None
        self._checked = bool(described & 0x04)
        self._window = max(size if single else window, 1)
        if self._window > _MOST_WINDOW and not (single and size <= most):
            raise ZstdError(f"a window of {self._window} bytes is more than {_MOST_WINDOW}")
        # What was unpacked last, and how much was before it.
        self._done, self._before = bytearray(), 0
        self._repeats = [1, 4, 8]
        self._huffman: Huffman | None = None
        self._tables: list[Fse | None] = [None, None, None]

    def unpack(self) -> int:
        last = 0
        while not last:
            head = int.from_bytes(_exactly(self._source, 3), "little")
            last, kind, size = head & 1, head >> 1 & 3, head >> 3
            if kind == 0:
                self._done += _exactly(self._source, size)
            elif kind == 1:
                self._room(size)
                self._done += _exactly(self._source, 1) * size
            elif kind == 2 and size <= _BLOCK:
                self._compressed(_exactly(self._source, size))
            else:
                raise ZstdError("a block of a kind or size that there is not")
            self._flush()
        if self._checked:
            _exactly(self._source, 4)
        self._out.write(self._done)
        total = self._before + len(self._done)
        if self._size is not None and self._size != total:
            raise ZstdError(f"expected {self._size} bytes, unpacked {total}")
        return total

    def _room(self, more: int) -> None:
        if self._before + len(self._done) + more > self._most:
            raise ZstdError(f"unpacks to more than {self._most} bytes")

    def _flush(self) -> None:
        """Let go of what no match can reach any more, now and then."""
        self._room(0)
        over = len(self._done) - self._window
        if over > max(self._window, 8 * _BLOCK):
            self._out.write(self._done[:over])
            del self._done[:over]
            self._before += over

    def _compressed(self, block: bytes) -> None:
        literals, at = self._literals(block)
        count, at = _count(block, at)
        if not count:
            if at != len(block):
                raise ZstdError("bytes behind a block that has no sequences")
            self._done += literals
            return
        if at >= len(block) or block[at] & 3:
            raise ZstdError("a header of sequences that there is not")
        modes = block[at]
        at += 1
        tables: list[Fse] = []
        for index, (kind, shift) in enumerate(((LITERALS, 6), (OFFSETS, 4), (LENGTHS, 2))):
            table, at = kind.table(modes >> shift & 3, block, at, self._tables[index])
            self._tables[index] = table
            tables.append(table)
        self._sequences(block[at:], count, literals, tables)

    # -- literals (section 3.1.1.3.1) --------------------------------------------------------------

    def _literals(self, block: bytes) -> tuple[bytes, int]:
        """The block's literals, and where what follows them begins."""
        if not block:
            raise ZstdError("an empty block")
        kind, form = block[0] & 3, block[0] >> 2 & 3
        if kind < 2:
            width, drop = ((1, 3), (2, 4), (1, 3), (3, 4))[form]
            size = int.from_bytes(block[:width], "little") >> drop
            self._room(size)
            data = block[width : width + (size if kind == 0 else 1)]
            if len(data) != (size if kind == 0 else 1):
                raise ZstdError("truncated literals")
            return (data, width + size) if kind == 0 else (data * size, width + 1)
        width, bits = ((3, 10), (3, 10), (4, 14), (5, 18))[form]
        head = int.from_bytes(block[:width], "little") >> 4
        size, packed = head & (1 << bits) - 1, head >> bits & (1 << bits) - 1
        end = width + packed
        if end > len(block) or size > _BLOCK:
            raise ZstdError("truncated literals")
        at = width
        if kind == 2:
            self._huffman, at = huffman_table(block[:end], width)
        if self._huffman is None:
            raise ZstdError("literals of a tree that there is not")
        if form == 0:
            return self._huffman.decoded(block[at:end], size), end
        sizes = [int.from_bytes(block[at + i : at + i + 2], "little") for i in (0, 2, 4)]
        at += 6
        sizes.append(end - at - sum(sizes))
        quarter = (size + 3) // 4
        parts = []
        for one, wanted in zip(sizes, (quarter, quarter, quarter, size - 3 * quarter), strict=True):
            if one <= 0 or wanted < 0:
                raise ZstdError("a stream of literals of no size")
            parts.append(self._huffman.decoded(block[at : at + one], wanted))
            at += one
        return b"".join(parts), end

    # -- sequences (sections 3.1.1.3.2 and 3.1.1.4) -------------------------------------------------

    def _sequences(self, data: bytes, count: int, literals: bytes, tables: list[Fse]) -> None:
        bits = Backwards(data)
        lit, off, mat = tables
        state_l, state_o, state_m = (bits.take(table.log) for table in tables)
        done, repeats = self._done, self._repeats
        taken, begun = 0, len(done)
        for left in range(count - 1, -1, -1):
            bits.fill(_ONE)
            code, need_o, base_o = off.rows[state_o]
            value = (1 << code) + bits.take(code)
            extra, length_bits = LENGTHS.numbers[mat.rows[state_m][0]]
            length = extra + bits.take(length_bits)
            extra, run_bits = LITERALS.numbers[lit.rows[state_l][0]]
            run = extra + bits.take(run_bits)
            if left:
                _, need, base = lit.rows[state_l]
                state_l = base + bits.take(need)
                _, need, base = mat.rows[state_m]
                state_m = base + bits.take(need)
                state_o = base_o + bits.take(need_o)
            offset = _offset(value, run, repeats)
            if run:
                done += literals[taken : taken + run]
                taken += run
            start = len(done) - offset
            if start < 0 or offset > self._window or taken > len(literals) or len(done) + length - begun > _BLOCK:
                raise ZstdError("a sequence that leads out of what there is")
            if offset >= length:
                done += done[start : start + length]
            else:
                piece = done[start:]
                done += (piece * (length // offset + 1))[:length]
        if bits.left:
            raise ZstdError("bits behind the last sequence")
        done += literals[taken:]
        if len(done) - begun > _BLOCK:
            raise ZstdError("a block of more than its size")


def _offset(value: int, run: int, repeats: list[int]) -> int:
    """The offset that ``value`` stands for (section 3.1.1.5); ``repeats`` are the last three, and are moved."""
    if value > 3:
        offset = value - 3
        repeats[:] = offset, repeats[0], repeats[1]
        return offset
    index = value - 1 + (not run)
    offset = repeats[index] if index < 3 else repeats[0] - 1
    if offset <= 0:
        raise ZstdError("an offset of nothing")
    if index == 1:
        repeats[:] = offset, repeats[0], repeats[2]
    elif index > 1:
        repeats[:] = offset, repeats[0], repeats[1]
    return offset


def _count(block: bytes, at: int) -> tuple[int, int]:
    """How many sequences there are, and where what follows begins."""
    head = block[at : at + 3]
    if not head:
        raise ZstdError("expected a number of sequences, found none")
    if head[0] < 128:
        return head[0], at + 1
    if head[0] < 255 and len(head) > 1:
        return ((head[0] - 128) << 8) + head[1], at + 2
    if head[0] == 255 and len(head) > 2:
        return head[1] + (head[2] << 8) + 0x7F00, at + 3
    raise ZstdError("a number of sequences that is cut off")
