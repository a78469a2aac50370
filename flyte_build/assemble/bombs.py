"""How much a few bytes may become. Small, because whoever reads an archive asks, and few inflate anything."""

from __future__ import annotations

__all__ = ["most_inflated"]

_MOST, _RATIO = 16 << 30, 64


def most_inflated(size: int, least: int | None = None) -> int:
    """Bytes that ``size`` bytes may inflate to, where nobody has said how many: beyond that they are a bomb.

    ``least`` bytes are never one.
    """
    return max(_MOST if least is None else least, _RATIO * size)
