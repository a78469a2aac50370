"""Places for many cards: a block for each group, and right-angled lines between them that never cross a card. Pure.

All columns are the same over the whole picture, so that there is a gutter beside each, from top to bottom. A line goes
down from its card, along the lane below that row to the gutter of the column of what it leads to, along that to the
lane above its row, and down into it. All that lead to one card share its lanes: they are drawn as one bundle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby

from .geometry import CARD, Box
from .model import Graph, Node

__all__ = ["Block", "blocks", "route"]

GUTTER = 40
LANE = 36
_PAD = 10
_TITLE = 30
_BETWEEN = 26


@dataclass(frozen=True, slots=True)
class Block:
    """A group: its name, and the box around its cards."""

    name: str
    box: Box


def blocks(graph: Graph, columns: int, left: float, top: float) -> tuple[list[Block], dict[str, Box], float]:
    """The blocks, the cards, and where they end. Groups stand where the first of their cards is needed: what is run is
    on top; what fits beside each other is. Where all are of one group, there is a block for each depth, and no name."""
    alone = len({n.group for n in graph.nodes}) == 1
    nodes = sorted(graph.nodes, key=lambda n: (n.depth if alone else n.group, n.depth, n.name))
    groups = [
        ("" if alone else str(name), list(members))
        for name, members in groupby(nodes, key=lambda n: n.depth if alone else n.group)
    ]
    groups.sort(key=lambda g: (min(n.depth for n in g[1]), -len(g[1]), g[0]))
    cards: dict[str, Box] = {}
    found: list[Block] = []
    y = top
    pending = groups
    while pending:
        column, height, later = 0, 0.0, []
        for name, members in pending:
            # As square as can be, so that blocks stand beside each other.
            wide = min(len(members) if alone else math.ceil(math.sqrt(len(members))), columns)
            if column + wide > columns or (alone and column):
                later.append((name, members))
                continue
            box = _block(members, wide, left + column * (CARD[0] + GUTTER), y, cards)
            found.append(Block(name, box))
            column, height = column + wide, max(height, box.h)
        y += height + _BETWEEN
        pending = later
    return found, cards, y


def _block(members: list[Node], wide: int, x: float, y: float, cards: dict[str, Box]) -> Box:
    for number, node in enumerate(members):
        row, column = divmod(number, wide)
        cards[node.name] = Box(x + column * (CARD[0] + GUTTER), y + _TITLE + row * (CARD[1] + LANE), *map(float, CARD))
    rows = -(-len(members) // wide)
    width = wide * CARD[0] + (wide - 1) * GUTTER + 2 * _PAD
    return Box(x - _PAD, y, width, _TITLE + rows * CARD[1] + (rows - 1) * LANE + _PAD)


def route(a: Box, b: Box, bundle: int) -> str:
    """The path of a line from the card ``a`` to ``b``, as SVG has it; ``bundle`` numbers what it leads to."""
    offset = (bundle % 5 - 2) * 2.5
    gutter = b.x - GUTTER / 2 + offset
    leave, arrive = a.y + a.h + LANE / 2 + offset / 2 - 6, b.y - 9 + offset / 2
    x1, x2 = a.x + a.w / 2, b.x + b.w / 2
    points = [(x1, a.y + a.h), (x1, leave), (gutter, leave), (gutter, arrive), (x2, arrive), (x2, b.y)]
    return " ".join(_rounded(points))


def _rounded(points: list[tuple[float, float]], radius: float = 5.0) -> list[str]:
    """The corners cut off by a curve, as far as the legs allow."""
    out = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        out.append("L{:.1f},{:.1f}".format(*_towards(corner, before, radius)))
        out.append("Q{:.1f},{:.1f} {:.1f},{:.1f}".format(*corner, *_towards(corner, after, radius)))
    out.append(f"L{points[-1][0]:.1f},{points[-1][1]:.1f}")
    return out


def _towards(corner: tuple[float, float], other: tuple[float, float], radius: float) -> tuple[float, float]:
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = abs(dx) + abs(dy)
    share = min(radius, length / 2) / length if length else 0.0
    return corner[0] + dx * share, corner[1] + dy * share
