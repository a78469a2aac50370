"""The picture as a graph in Graphviz's language, for who draws it in another way."""

from __future__ import annotations

from itertools import groupby

from .model import Graph, Node
from .svg import STATES, amount

__all__ = ["render_dot"]


def render_dot(graph: Graph) -> str:
    """A digraph: a node for each environment (its state by colour), a cluster for each group, an edge for each
    dependency; dashed, the image that one extends."""
    out = [
        f"digraph {_quoted(graph.title or 'plan')} {{",
        f'  graph [label={_quoted(graph.title or "plan")}, labelloc=t, rankdir=TB, fontname="sans-serif"];',
        '  node [shape=box, style="rounded,filled", fontname="sans-serif"];',
    ]
    nodes = sorted(graph.nodes, key=lambda n: (n.group, n.depth, n.name))
    for number, (group, members) in enumerate(groupby(nodes, key=lambda n: n.group)):
        inside = [_node(n) for n in members]
        if group:
            out.append(f"  subgraph cluster_{number} {{ label={_quoted(group)};")
        out += [f"  {'  ' if group else ''}{line}" for line in inside]
        if group:
            out.append("  }")
    out += [f"  {_quoted(n.name)} -> {_quoted(d)};" for n in graph.nodes for d in n.depends_on]
    out += [
        f'  {_quoted(n.name)} -> {_quoted(n.extends)} [style=dashed, color="#7c3aed", constraint=false];'
        for n in graph.nodes
        if n.extends
    ]
    return "\n".join([*out, "}", ""])


def _node(node: Node) -> str:
    label = "\n".join([node.name, f"{len(node.layers)} layers, {amount(node.size)}"])
    ink, fill, _ = STATES[node.state]
    return (
        f"{_quoted(node.name)} [label={_quoted(label)}, "
        f'color="{ink}", fillcolor="{fill}", tooltip={_quoted(node.why)}];'
    )


def _quoted(words: str) -> str:
    """A quoted ID of the language (graphviz.org/doc/info/lang.html); a line break is its own ``\\n``."""
    plain = words.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + plain.replace("\n", "\\n") + '"'
