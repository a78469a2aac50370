"""The closure of ``depends_on``: which environments a task or a deployment needs, and in which order.

Our own walk over names, linear in environments and edges: the SDK's recursive one ends in a RecursionError on
a cycle and walks stacked diamonds exponentially.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from ..kernel.errors import LoadError

__all__ = ["closure"]


def closure(start: Iterable[str], depends_on: Mapping[str, Sequence[str]]) -> list[str]:
    """Every environment reachable from ``start``, dependencies before their dependents.

    ``depends_on`` maps a name to the names it depends on; every name must be a key. The order is deterministic:
    that of the walk, where the graph leaves a choice. Raises :class:`LoadError` with the cycle as
    ``a → b → a`` when there is one.
    """
    graph: dict[str, Sequence[str]] = {}
    pending = list(start)[::-1]
    while pending:
        name = pending.pop()
        if name not in graph:
            graph[name] = depends_on[name]
            pending.extend(reversed(depends_on[name]))
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as e:
        # graphlib gives the cycle along its edges backwards: each node is a predecessor of the next.
        path = " → ".join(reversed(e.args[1]))
        raise LoadError(
            f"environments depend on one another in a cycle: {path}",
            hint="remove one of the `depends_on`; tasks of one environment may call each other without it",
        ) from None
