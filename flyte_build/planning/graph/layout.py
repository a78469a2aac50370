"""Everything gets a place: cards in rows by depth, many in blocks (``grouped``); layers as a squarified treemap.

Pure geometry, in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .geometry import CARD, Box
from .grouped import GUTTER, Block, blocks
from .model import Graph, Layer, Node

__all__ = ["CARD", "FEW", "Box", "Layout", "place", "treemap"]

_GAP = (20, 20)
_LEVEL = 64
_MARGIN = 32
_HEADER = 78
_MAP_TITLE = 52
FEW = 16


@dataclass(frozen=True, slots=True)
class Layout:
    """Places of the cards by environment, of the treemap's tiles by layer, and the size of the whole. ``blocks`` are
    there for many cards only."""

    width: float
    height: float
    cards: dict[str, Box]
    tiles: dict[str, Box]
    map_top: float
    blocks: tuple[Block, ...] = ()


def place(graph: Graph) -> Layout:
    """Rows by depth, the environment that is run on top; a level with many wraps into several rows."""
    if len(graph.nodes) > FEW:
        return _in_blocks(graph)
    columns = _columns(len(graph.nodes))
    width = 2 * _MARGIN + columns * CARD[0] + (columns - 1) * _GAP[0]
    cards: dict[str, Box] = {}
    y = float(_HEADER + _MARGIN)
    for depth in sorted({n.depth for n in graph.nodes}):
        level = _ordered([n for n in graph.nodes if n.depth == depth], cards, graph)
        for start in range(0, len(level), columns):
            row = level[start : start + columns]
            used = len(row) * CARD[0] + (len(row) - 1) * _GAP[0]
            # A full level lines up; a short one stands in the middle.
            x = _MARGIN if len(level) > columns else (width - used) / 2
            for node in row:
                cards[node.name] = Box(x, y, *map(float, CARD))
                x += CARD[0] + _GAP[0]
            y += CARD[1] + _GAP[1]
        y += _LEVEL - _GAP[1]
    return _with_map(graph, width, cards, y - _LEVEL + 2 * _GAP[1])


def _in_blocks(graph: Graph) -> Layout:
    columns = max(4, min(8, math.ceil(math.sqrt(1.6 * len(graph.nodes)))))
    left = _MARGIN + GUTTER / 2
    width = 2 * left + columns * CARD[0] + (columns - 1) * GUTTER
    found, cards, end = blocks(graph, columns, left, float(_HEADER + _MARGIN))
    return _with_map(graph, width, cards, end, tuple(found))


def _with_map(
    graph: Graph, width: float, cards: dict[str, Box], map_top: float, found: tuple[Block, ...] = ()
) -> Layout:
    area = Box(_MARGIN, map_top + _MAP_TITLE, width - 2 * _MARGIN, max(220.0, min(420.0, width * 0.3)))
    tiles = treemap(sorted(graph.layers.values(), key=lambda x: (-x.size, x.key)), area)
    return Layout(width, area.y + area.h + _MARGIN, cards, tiles, map_top, found)


def _columns(count: int) -> int:
    return max(3, min(7, math.ceil(math.sqrt(count * 0.8))))


def _ordered(level: list[Node], cards: dict[str, Box], graph: Graph) -> list[Node]:
    """Below those who depend on them, as far as a row allows: by the mean place of the dependents."""

    def centre(node: Node) -> float:
        above = [cards[n.name].x for n in graph.nodes if node.name in n.depends_on and n.name in cards]
        return sum(above) / len(above) if above else 0.0

    return sorted(level, key=lambda n: (centre(n), n.name))


def treemap(layers: Sequence[Layer], area: Box) -> dict[str, Box]:
    """Tiles whose areas are as the layers' sizes, as square as can be (Bruls, Huizing, van Wijk 2000).

    ``layers`` from the largest on. Layers too small for half a pixel still get their share of the area.
    """
    total = sum(max(layer.size, 1) for layer in layers)
    scale = area.w * area.h / total if total else 0.0
    tiles: dict[str, Box] = {}
    rest = area
    pending = [(layer.key, max(layer.size, 1) * scale) for layer in layers]
    while pending:
        side = min(rest.w, rest.h)
        row: list[tuple[str, float]] = []
        while pending and (not row or _worst([*row, pending[0]], side) <= _worst(row, side)):
            row.append(pending.pop(0))
        rest = _lay(row, rest, tiles)
    return tiles


def _worst(row: Sequence[tuple[str, float]], side: float) -> float:
    """The worst ratio of sides in a row along ``side``."""
    total = sum(a for _, a in row)
    if not total or not side:
        return math.inf
    return max(max(side * side * a / total**2, total**2 / (side * side * a)) for _, a in row)


def _lay(row: Sequence[tuple[str, float]], rest: Box, tiles: dict[str, Box]) -> Box:
    total = sum(a for _, a in row)
    if rest.w >= rest.h:
        width, y = (min(total / rest.h, rest.w) if rest.h else 0.0), rest.y
        for key, a in row:
            # A share of the side, not area by width: and no more than what is left: where that is as thin as
            # rounding errors, areas would grow out of the map.
            height = rest.h * a / total if total else 0.0
            tiles[key] = Box(rest.x, y, width, height)
            y += height
        return Box(rest.x + width, rest.y, max(rest.w - width, 0.0), rest.h)
    height, x = (min(total / rest.w, rest.h) if rest.w else 0.0), rest.x
    for key, a in row:
        width = a / height if height else 0.0
        tiles[key] = Box(x, rest.y, width, height)
        x += width
    return Box(rest.x, rest.y + height, rest.w, max(rest.h - height, 0.0))
