"""Huffman codes of DEFLATE (RFC 1951, 3.2.2 and 3.2.7), each a pure function of how often symbols occur.

``docs/deflate.md`` states the rules: lengths from a Huffman tree, rarest symbols deepest, limited as ITU-T T.81, K.2
does; and how they are written. Never decides what the symbols are: that is ``matches.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

__all__ = ["DISTANCES", "LITERALS", "LONGEST", "code_lengths", "codes", "described"]

LITERALS, DISTANCES = 286, 30
"""Symbols that DEFLATE has: literals, the end of a block and lengths; and distances."""

LONGEST = 15
_LONGEST_OF_LENGTHS = 7
_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
# By symbol of the code of lengths, how many bits follow it.
_EXTRA = {16: 2, 17: 3, 18: 7}


def code_lengths(counts: Sequence[int], longest: int) -> list[int]:
    """Bits of each symbol's code, at most ``longest``; 0 for those that do not occur.

    Fewer than two symbols are no code: the first ones that do not occur count as occurring once then.
    """
    used = sorted((count, symbol) for symbol, count in enumerate(counts) if count)
    if len(used) < 2:
        absent = [(1, symbol) for symbol, count in enumerate(counts[:2]) if not count]
        used = sorted(used + absent[: 2 - len(used)])
    number = _limited(_depths([count for count, _ in used]), longest)
    lengths = [0] * len(counts)
    rarest_first = iter(used)
    for length in range(longest, 0, -1):
        for _ in range(number[length]):
            lengths[next(rarest_first)[1]] = length
    return lengths


def _depths(weights: list[int]) -> list[int]:
    """How many leaves the Huffman tree of ``weights``, which ascend, has at each depth.

    The two lightest nodes are joined; of a leaf and a joined node of one weight the leaf comes first.
    """
    leaves, last = len(weights), 2 * len(weights) - 2
    weights, parents = weights + [0] * (leaves - 1), [0] * (last + 1)
    leaf, node = 0, leaves
    for new in range(leaves, last + 1):
        for _ in range(2):
            if leaf < leaves and (node == new or weights[leaf] <= weights[node]):
                child, leaf = leaf, leaf + 1
            else:
                child, node = node, node + 1
            weights[new] += weights[child]
            parents[child] = new
    depths = [0] * (last + 1)
    for child in range(last - 1, -1, -1):
        depths[child] = depths[parents[child]] + 1
    number = [0] * (max(LONGEST, *depths) + 1)
    for depth in depths[:leaves]:
        number[depth] += 1
    return number


def _limited(number: list[int], longest: int) -> list[int]:
    """``number`` of codes by length, none longer than ``longest``: ITU-T T.81, K.2, figure K.3."""
    for length in range(len(number) - 1, longest, -1):
        while number[length]:
            shorter = length - 2
            while not number[shorter]:
                shorter -= 1
            number[length] -= 2
            number[length - 1] += 1
            number[shorter + 1] += 2
            number[shorter] -= 1
    return number


def codes(lengths: Sequence[int]) -> list[str]:
    """The code of each symbol as a string of bits, its last bit first; empty where there is none."""
    number = [0] * (LONGEST + 2)
    for length in lengths:
        number[length] += 1
    number[0] = code = 0
    following = [0] * (LONGEST + 2)
    for length in range(1, LONGEST + 1):
        following[length] = code = (code + number[length - 1]) << 1
    made = []
    for length in lengths:
        made.append(f"{following[length]:0{length}b}"[::-1] if length else "")
        following[length] += 1
    return made


def described(literals: Sequence[int], distances: Sequence[int]) -> str:
    """What a block says of its codes, given their lengths: the bits after its type, the last first."""
    hlit, hdist = max(257, _end(literals)), max(1, _end(distances))
    rows = list(_runs([*literals[:hlit], *distances[:hdist]]))
    counts = [0] * 19
    for symbol, _ in rows:
        counts[symbol] += 1
    lengths = code_lengths(counts, _LONGEST_OF_LENGTHS)
    code = codes(lengths)
    hclen = max(4, _end([lengths[symbol] for symbol in _ORDER]))
    parts = [f"{hlit - 257:05b}", f"{hdist - 1:05b}", f"{hclen - 4:04b}"]
    parts += [f"{lengths[symbol]:03b}" for symbol in _ORDER[:hclen]]
    for symbol, extra in rows:
        parts.append(code[symbol])
        if symbol in _EXTRA:
            parts.append(f"{extra:0{_EXTRA[symbol]}b}")
    return "".join(reversed(parts))


def _end(lengths: Sequence[int]) -> int:
    """Where the zeros at the end begin."""
    end = len(lengths)
    while end and not lengths[end - 1]:
        end -= 1
    return end


def _runs(lengths: Iterable[int]) -> Iterable[tuple[int, int]]:
    """``lengths`` as symbols of the code of lengths, with the value of the bits that follow each."""
    for length, run in groupby(lengths):
        left = len(list(run))
        if length:
            yield length, 0
            left -= 1
        while left >= 3:
            if length:
                take = min(left, 6)
                yield 16, take - 3
            else:
                take = min(left, 138)
                yield (18, take - 11) if take > 10 else (17, take - 3)
            left -= take
        yield from [(length, 0)] * left
