"""Why a package is in an image: the shortest chain from what somebody asked for, and all that require it. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .graph import Edge, Graph, Key, Root

__all__ = ["Reason", "reasons"]


@dataclass(frozen=True, slots=True)
class Reason:
    """``chain`` leads from ``root`` to ``what``, empty where it is the root itself. ``root`` is ``None`` where nothing
    that is known requires it; ``required_by``: every direct requirement; ``step``: the pip step whose layer has it."""

    environment: str
    platform: str
    what: Key
    version: str
    root: Root | None
    chain: tuple[Edge, ...]
    required_by: tuple[Edge, ...]
    asked: tuple[Root, ...]
    step: int | None


def reasons(graph: Graph, name: str) -> list[Reason]:
    """Why the packages called ``name`` are in the image of ``graph``: one reason as a wheel, one as a .deb."""
    out = []
    for what in graph.find(name):
        root, chain = _shortest(graph, what)
        asked = tuple(r for r in graph.roots if r.what == what)
        required = tuple(e for e in graph.into(what) if e.by != what)
        out.append(
            Reason(
                graph.environment, graph.platform, what, graph.versions[what], root, chain, required, asked,
                graph.steps.get(what),
            )
        )  # fmt: skip
    return out


def _shortest(graph: Graph, what: Key) -> tuple[Root | None, tuple[Edge, ...]]:
    """Breadth first from all roots, in their order; what was asked for by itself needs no chain."""
    roots = {root.what: root for root in reversed(graph.roots)}
    came: dict[Key, Edge | None] = dict.fromkeys((root.what for root in graph.roots), None)
    waiting = deque(came)
    while waiting and what not in came:
        at = waiting.popleft()
        for edge in graph.edges.get(at, ()):
            if edge.what not in came:
                came[edge.what] = edge
                waiting.append(edge.what)
    if what not in came:
        return None, ()
    chain: list[Edge] = []
    at = what
    while (last := came[at]) is not None:
        chain.append(last)
        at = last.by
    return roots[at], tuple(reversed(chain))
