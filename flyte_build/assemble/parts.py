"""Which files of a wheel lie in which of the layers that it is spread over: a function of the wheel and two numbers.

In the order of their paths the files are divided into as many runs as there are to be layers, so that the heaviest run
is as light as can be. No file is divided, and no layer is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from .entries import Deflated, Entry, Segment
from .errors import AssembleError

__all__ = ["HEADER", "divided", "of_part"]

HEADER = 512
"""What an entry is reckoned with besides its content, in bytes: its header, compressed, takes less."""


def of_part(sourced: Sequence[tuple[str, Entry]], part: Mapping[str, Any]) -> list[tuple[str, Entry]]:
    """Those of one wheel's files that are in the part ``number`` (from 1) ``of`` so many, of ``ceiling`` bytes each.

    Raises :class:`AssembleError` for a wheel of fewer files than parts.
    """
    ordered = sorted(sourced, key=lambda s: s[1].path.encode())
    weights = [weight(entry) for _, entry in ordered]
    if len(ordered) < part["of"]:
        raise AssembleError(
            f"expected {part['of']} files or more for as many layers of {part['ceiling']} bytes, found {len(ordered)}, "
            f"the largest of {max(weights, default=0)}; files are not divided, so `layer-ceiling` has to be higher",
            ordered[0][0] if ordered else None,
        )
    start, end = divided(weights, part["of"], part["ceiling"])[part["number"] - 1]
    return ordered[start:end]


def weight(entry: Entry) -> int:
    """The bytes that an entry is reckoned to take in a layer."""
    return HEADER + sum(map(_taken, entry.content))


def _taken(segment: Segment) -> int:
    if isinstance(segment, bytes):
        return len(segment)
    return segment.csize if isinstance(segment, Deflated) else segment.size


def divided(weights: Sequence[int], count: int, ceiling: int) -> list[tuple[int, int]]:
    """``weights`` as ``count`` runs, by first index and the one behind the last; none is empty.

    The heaviest run is as light as can be. What is above ``ceiling`` by itself counts as exactly that, so that it takes
    no companion and the others are divided as if it were none. If that gives fewer runs, the heaviest of two or more
    is halved until they are enough. ``count`` is at most the number of weights.
    """
    capped = [min(weight, ceiling) for weight in weights]
    low, high = max(capped), sum(capped)
    while low < high:
        limit = (low + high) // 2
        low, high = (low, limit) if len(_runs(capped, limit)) <= count else (limit + 1, high)
    runs = _runs(capped, low)
    before = [0, *accumulate(capped)]
    while len(runs) < count:
        heaviest = max((r for r in runs if r[1] - r[0] > 1), key=lambda r: (before[r[1]] - before[r[0]], -r[0]))
        start, end = heaviest
        middle = min(
            range(start + 1, end),
            key=lambda at: (max(before[at] - before[start], before[end] - before[at]), at),
        )
        place = runs.index(heaviest)
        runs[place : place + 1] = [(start, middle), (middle, end)]
    return runs


def _runs(weights: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """The runs that are as long as can be without being heavier than ``limit``, which no weight is."""
    runs, start, total = [], 0, 0
    for i, weight in enumerate(weights):
        if total + weight > limit:
            runs.append((start, i))
            start, total = i, 0
        total += weight
    return [*runs, (start, len(weights))]
