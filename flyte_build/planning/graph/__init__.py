"""A plan as a picture: environments and what they depend on, their images, and the layers that images share.

``model`` is what the picture shows, as values; ``layout`` gives everything a place; ``svg``, ``html`` and
``dot`` draw it. Pure: text in, text out.
"""

from .dot import render_dot
from .html import render_html
from .model import Graph, make_graph
from .svg import render_svg

__all__ = ["Graph", "make_graph", "render_dot", "render_html", "render_svg"]
