"""What a layer holds, in a few lines of a lock: enough to say where another machine's outcome begins to differ.

Paths in order are cut into at most 32 groups; of each the last path and a hash of all its rows is kept. Pure.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence

__all__ = ["differing", "first_difference", "sketch"]

_GROUPS = 32
_DIGITS = 12


def sketch(listing: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The groups of ``listing`` (path → what is there): last path, and 12 hexadecimal digits."""
    paths = sorted(listing)
    size = max(1, -(-len(paths) // _GROUPS))
    groups = [paths[at : at + size] for at in range(0, len(paths), size)]
    return tuple((group[-1], _hash(group, listing)) for group in groups)


def first_difference(expected: Sequence[tuple[str, str]], listing: Mapping[str, str]) -> str | None:
    """Where ``listing`` first differs from what was sketched, in words; ``None`` where no group does."""
    paths = sorted(listing)
    start = 0
    for last, identity in expected:
        end = bisect_left(paths, last)
        end += end < len(paths) and paths[end] == last
        group = paths[start:end]
        if _hash(group, listing) != identity:
            if last not in listing:
                return f"`{last}`, which is missing" if len(group) < 2 else f"at or before `{last}`, which is missing"
            return f"`{last}`" if len(group) == 1 else f"one of the {len(group)} from `{group[0]}` to `{last}`"
        start = end
    return f"`{paths[start]}`, which is new" if start < len(paths) else None


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[str, ...]:
    """The paths that two listings do not agree on, in order."""
    return tuple(sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path)))


def _hash(paths: Sequence[str], listing: Mapping[str, str]) -> str:
    rows = "".join(f"{path}\0{listing[path]}\n" for path in paths)
    return hashlib.sha256(rows.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]
