"""The picture as one HTML file: the SVG, and what moves and searches it (``graph.*``)."""

from __future__ import annotations

from html import escape
from importlib.resources import files

from .model import Graph
from .svg import STATES, render_svg

__all__ = ["render_html"]


def render_html(graph: Graph) -> str:
    """One self-contained file: it loads nothing, so it can be kept beside a build and opened later."""
    legend = "".join(
        f'<span><i style="background:{fill};border-color:{ink}"></i>{words}</span>'
        for ink, fill, words in STATES.values()
    )
    return (
        _part("graph.html")
        .replace("{{title}}", escape(graph.title or "plan"))
        .replace("{{style}}", _part("graph.css"))
        .replace("{{legend}}", f"{legend}<span><b></b>depends on</span>")
        .replace("{{script}}", _part("graph.js"))
        .replace("{{svg}}", render_svg(graph))
    )


def _part(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
