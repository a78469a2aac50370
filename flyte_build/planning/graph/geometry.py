"""Boxes, and how large a card is. In pixels."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CARD", "Box"]

CARD = (248, 104)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: left, top, width, height."""

    x: float
    y: float
    w: float
    h: float
