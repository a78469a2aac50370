"""The picture as SVG 1.1: no script, no font of its own, nothing from elsewhere, so it opens in any viewer."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from .geometry import CARD, Box
from .grouped import Block, route
from .layout import FEW, Layout, place
from .model import Graph, Layer, Node

__all__ = ["STATES", "amount", "colour", "render_svg"]

# Twelve hues that neighbours tell apart, for the shared layers from the largest on; the rest are greys.
_HUES = (211, 28, 145, 330, 48, 265, 178, 0, 95, 300, 235, 70)
STATES = {
    "cached": ("#15803d", "#dcfce7", "cached"),
    "build": ("#b45309", "#fef3c7", "to build"),
    "failing": ("#b91c1c", "#fee2e2", "check fails"),
}
_INSET = 14.0

_STYLE = """
text { font-family: ui-sans-serif, system-ui, "Segoe UI", "DejaVu Sans", Arial, sans-serif; fill: #0f172a; }
.more { font-size: 11px; fill: #7c3aed; }
.title { font-size: 20px; font-weight: 700; }
.sub, .why, .legend { font-size: 12px; fill: #475569; }
.name { font-size: 14px; font-weight: 700; } .pill { font-size: 11px; font-weight: 600; }
.card { fill: #ffffff; stroke: #cbd5e1; } .edge { fill: none; stroke: #94a3b8; stroke-width: 1.5; }
.extends { fill: none; stroke: #7c3aed; stroke-width: 1.5; stroke-dasharray: 4 3; }
.tile { stroke: #ffffff; stroke-width: 1.5; } .label { font-size: 12px; font-weight: 600; } .small { font-size: 11px; }
.block { fill: #eef2f7; } .group { font-size: 13px; font-weight: 600; fill: #334155; }
.section { font-size: 15px; font-weight: 700; }
"""


def amount(size: int) -> str:
    """Decimal units, as registries count."""
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def colour(layer: Layer) -> str:
    """A hue for a layer that images share, a grey for one that only one image has."""
    if layer.rank is None:
        return "#cbd5e1"
    if layer.rank < len(_HUES):
        return f"hsl({_HUES[layer.rank]}, 62%, 68%)"
    return f"hsl(215, 18%, {62 + 5 * (layer.rank % 4)}%)"


def render_svg(graph: Graph) -> str:
    """The whole picture as one SVG document."""
    layout = place(graph)
    body = [
        *_header(graph, layout),
        *(_block(block) for block in layout.blocks),
        *(_edge(node, dependency, layout) for node in graph.nodes for dependency in node.depends_on),
        *(_extension(node, layout) for node in graph.nodes if node.extends),
        *(_card(node, graph, layout.cards[node.name]) for node in graph.nodes),
        *_map(graph, layout),
    ]
    w, h = round(layout.width), round(layout.height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" '
        f"aria-label={quoteattr(graph.title or 'plan')}>\n<style>{_STYLE}</style>\n"
        f'<rect width="{w}" height="{h}" fill="#f8fafc"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _text(x: float, y: float, words: str, css: str, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}"{extra}>{escape(words)}</text>'


def _cut(words: str, pixels: float, per_character: float) -> str:
    """``words`` cut to what fits; nothing where not even a few characters do."""
    widths = [per_character * (1.45 if c in "mwMW@%" else 1.2 if c.isupper() else 1.0) for c in words]
    if sum(widths) <= pixels:
        return words
    kept = 0
    while kept < len(words) and sum(widths[: kept + 1]) + per_character * 1.6 <= pixels:
        kept += 1
    return words[:kept] + "…" if kept >= 3 else ""


def _header(graph: Graph, layout: Layout) -> list[str]:
    states = [n.state for n in graph.nodes]
    counts = f"{len(states)} environments, {states.count('build')} to build"
    if "failing" in states:
        counts += f", {states.count('failing')} failing a check"
    saved = graph.sum - graph.stored
    out = [
        _text(32, 42, graph.title or "Plan", "title"),
        _text(
            32, 64,
            f"{counts} · {len(graph.layers)} layers, "
            f"{amount(graph.stored)} stored for {amount(graph.sum)} of images ({amount(saved)} shared)", "sub",
        ),
    ]  # fmt: skip
    x = layout.width - 32
    for state in ("failing", "build", "cached"):
        ink, fill, words = STATES[state]
        x -= len(words) * 6.4 + 30
        out.append(f'<rect x="{x:.1f}" y="28" width="12" height="12" rx="3" fill="{fill}" stroke="{ink}"/>')
        out.append(_text(x + 17, 38, words, "legend"))
    return out


def _edge(node: Node, dependency: str, layout: Layout) -> str:
    a, b = layout.cards[node.name], layout.cards[dependency]
    names = f"data-from={quoteattr(node.name)} data-to={quoteattr(dependency)}"
    if layout.blocks:
        bundle = list(layout.cards).index(dependency)
        ink = f"hsl({_HUES[bundle % len(_HUES)]}, 45%, 52%)"
        return f'<path class="edge" {names} style="stroke:{ink}" d="{route(a, b, bundle)}"/>'
    x1, y1, x2, y2 = a.x + a.w / 2, a.y + a.h, b.x + b.w / 2, b.y
    bend = max(24.0, (y2 - y1) / 2)
    return (
        f'<path class="edge" {names} d="M{x1:.1f},{y1:.1f} C{x1:.1f},{y1 + bend:.1f} '
        f'{x2:.1f},{y2 - bend:.1f} {x2:.1f},{y2:.1f}"/>'
    )


def _extension(node: Node, layout: Layout) -> str:
    """A dashed line along the cards' left sides, from an image to the one whose layers it has."""
    assert node.extends is not None
    a, b = layout.cards[node.name], layout.cards[node.extends]
    x1, y1, x2, y2 = a.x + 10, a.y + a.h, b.x + 10, b.y
    if y2 < y1:
        y1, y2 = a.y, b.y + b.h
    middle = (y1 + y2) / 2
    # Among many the cards say it in words, and the page draws the line of the card that is pointed at.
    hidden = ' opacity="0"' if len(layout.cards) > FEW else ""
    return (
        f'<path class="extends"{hidden} data-from={quoteattr(node.name)} data-to={quoteattr(node.extends)} '
        f'd="M{x1:.1f},{y1:.1f} C{x1:.1f},{middle:.1f} {x2:.1f},{middle:.1f} {x2:.1f},{y2:.1f}"/>'
    )


def _card(node: Node, graph: Graph, box: Box) -> str:
    ink, fill, words = STATES[node.state]
    pill = len(words) * 6.2 + 14
    x, y = box.x + _INSET, box.y
    count = f"{len(node.layers)} layers · {amount(node.size)}"
    parts = [
        f'<g class="env" data-name={quoteattr(node.name)} data-layers="{" ".join(k[7:19] for k in node.layers)}">',
        f"<title>{escape(f'{node.name}: {words} – {node.why}')}</title>",
        f'<rect class="card" x="{box.x:.1f}" y="{y:.1f}" width="{CARD[0]}" height="{CARD[1]}" rx="10" '
        f'style="stroke:{ink}"/>',
        *_name(node.name, x, y),
        f'<rect x="{box.x + CARD[0] - pill - 10:.1f}" y="{y + 34:.1f}" width="{pill:.1f}" height="18" rx="9" '
        f'fill="{fill}"/>',
        _text(box.x + CARD[0] - 10 - pill / 2, y + 47, words, "pill", f' text-anchor="middle" style="fill:{ink}"'),
        _text(x, y + 47, _cut(count, CARD[0] - pill - 3 * _INSET, 6.3), "why"),
        *_bar(node, graph, x, y + 56),
    ]
    if node.extends:
        parts.append(_text(x, y + 93, _cut(f"extends {node.extends}", CARD[0] - 2 * _INSET, 6.3), "more"))
    parts.append("</g>")
    return "\n".join(parts)


def _name(name: str, x: float, y: float) -> list[str]:
    """An environment's whole name: on one line, smaller on one, or on two; of one that is longer still, both ends."""
    room = CARD[0] - 2 * _INSET
    for points in (14.0, 12.5, 11.0):
        if _cut(name, room, points * 0.59) == name:
            return [_text(x, y + 23, name, "name", f' style="font-size:{points}px"')]
    per = 11.0 * 0.59
    fits = next(n for n in range(len(name), 0, -1) if _cut(name[:n], room, per) == name[:n])
    at = max((i + 1 for i, c in enumerate(name[:fits]) if c in "-_. /"), default=fits)
    rest = name[at:]
    if _cut(rest, room, per) != rest:
        kept = next(n for n in range(len(rest), -1, -1) if _cut(f"…{rest[len(rest) - n :]}", room, per)[-1:] != "…")
        rest = f"…{rest[len(rest) - kept :]}"
    small = ' style="font-size:11px"'
    return [_text(x, y + 16, name[:at], "name", small), _text(x, y + 29, rest, "name", small)]


def _block(block: Block) -> str:
    b = block.box
    if not block.name:
        return ""
    return f'<rect class="block" x="{b.x:.1f}" y="{b.y:.1f}" width="{b.w:.1f}" height="{b.h:.1f}" rx="12"/>' + _text(
        b.x + 12, b.y + 20, _cut(block.name, b.w - 24, 7.6), "group"
    )


def _bar(node: Node, graph: Graph, x: float, y: float) -> list[str]:
    """The image's layers by size, on one scale for all cards; nothing is thinner than can be seen."""
    largest = max(n.size for n in graph.nodes) or 1
    room = CARD[0] - 2 * _INSET
    layers = [graph.layers[key] for key in node.layers]
    least = 2.0
    scale = (room - least * len(layers)) / largest
    out = []
    for layer in layers:
        width = least + layer.size * scale
        fresh = "" if layer.cached else ' stroke="#b45309" stroke-dasharray="2 2"'
        shared = f", in {len(layer.holders)} images" if len(layer.holders) > 1 else ""
        out.append(
            f'<rect class="layer" data-layer="{layer.key[7:19]}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="20" fill="{colour(layer)}"{fresh}><title>{escape(layer.title)}: {amount(layer.size)}'
            f"{shared}</title></rect>"
        )
        x += width
    return out


def _map(graph: Graph, layout: Layout) -> list[str]:
    out = [
        _text(32, layout.map_top + 18, "Layers, by size", "section"),
        _text(
            32, layout.map_top + 38,
            "coloured: shared between images, in the colour they have above · grey: one image's own · "
            "dashed: not built yet", "sub",
        ),
    ]  # fmt: skip
    for key, box in layout.tiles.items():
        layer = graph.layers[key]
        fresh = "" if layer.cached else ' style="stroke:#b45309;stroke-dasharray:4 3"'
        out.append(
            f'<g class="tile-group" data-layer="{key[7:19]}"><title>{escape(layer.title)}: {amount(layer.size)}, in '
            f"{escape(', '.join(layer.holders))}</title>"
            f'<rect class="tile" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.w:.1f}" height="{box.h:.1f}" '
            f'fill="{colour(layer)}"{fresh}/>'
        )
        label = _cut(layer.title, box.w - 14, 7.4)
        if label and box.h > 22:
            out.append(_text(box.x + 7, box.y + 17, label, "label"))
            images = f"in {len(layer.holders)} images" if len(layer.holders) > 1 else f"only {layer.holders[0]}"
            second = _cut(f"{amount(layer.size)} · {images}", box.w - 14, 6.3)
            if second and box.h > 40:
                out.append(_text(box.x + 7, box.y + 33, second, "small"))
        out.append("</g>")
    return out
