"""The picture as one HTML file: the SVG, and a little script that follows a name or a layer through it."""

from __future__ import annotations

from html import escape

from .model import Graph
from .svg import render_svg

__all__ = ["render_html"]

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ margin: 0; background: #f8fafc; }}
#find {{ position: sticky; top: 0; padding: 10px 32px; background: #f8fafcee; font: 14px system-ui, sans-serif; }}
#find input {{ width: 22em; padding: 6px 10px; border: 1px solid #cbd5e1; border-radius: 8px; font: inherit; }}
svg {{ display: block; max-width: none; }}
svg .env, svg .tile-group, svg .edge, svg .extends {{ transition: opacity .12s; }}
svg.dim .env, svg.dim .tile-group, svg.dim .edge, svg.dim .extends {{ opacity: .13; }}
svg.dim .on {{ opacity: 1 !important; }}
</style>
</head>
<body>
<div id="find"><label>Find <input type="search" placeholder="an environment or a package" autofocus></label>
<span id="said"></span></div>
{svg}
<script>
"use strict";
const svg = document.querySelector("svg");
const all = selector => [...svg.querySelectorAll(selector)];
const environments = all(".env"), tiles = all(".tile-group"), lines = all(".edge, .extends");
const layersOf = e => e.dataset.layers.split(" ");
function show(chosenEnvironments, chosenLayers) {{
  const on = new Set([...chosenEnvironments, ...tiles.filter(t => chosenLayers.has(t.dataset.layer))]);
  const names = new Set(chosenEnvironments.map(e => e.dataset.name));
  lines.filter(l => names.has(l.dataset.from) || names.has(l.dataset.to)).forEach(l => on.add(l));
  const some = on.size > 0;
  svg.classList.toggle("dim", some);
  [...environments, ...tiles, ...lines].forEach(x => x.classList.toggle("on", on.has(x)));
}}
const clear = () => find(input.value);
const input = document.querySelector("input"), said = document.querySelector("#said");
function find(words) {{
  const wanted = words.trim().toLowerCase();
  if (!wanted) {{ said.textContent = ""; show([], new Set()); return; }}
  const layers = tiles.filter(t => t.querySelector("title").textContent.toLowerCase().includes(wanted));
  const keys = new Set(layers.map(t => t.dataset.layer));
  const found = environments.filter(
    e => e.dataset.name.toLowerCase().includes(wanted) || layersOf(e).some(k => keys.has(k)));
  said.textContent = `${{found.length}} environments, ${{layers.length}} layers`;
  show(found, keys);
}}
input.addEventListener("input", () => find(input.value));
environments.forEach(e => {{
  e.addEventListener("mouseenter", () => show([e], new Set(layersOf(e))));
  e.addEventListener("mouseleave", clear);
}});
tiles.forEach(t => {{
  const key = t.dataset.layer;
  t.addEventListener("mouseenter", () => show(environments.filter(e => layersOf(e).includes(key)), new Set([key])));
  t.addEventListener("mouseleave", clear);
}});
</script>
</body>
</html>
"""


def render_html(graph: Graph) -> str:
    """One self-contained file: it loads nothing, so it can be kept beside a build and opened later."""
    return _PAGE.format(title=escape(graph.title or "plan"), svg=render_svg(graph))
