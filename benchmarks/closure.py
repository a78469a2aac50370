"""(d) The closure of 10,000 environments in stacked diamonds, which a walk along paths would never finish.

In this process, around the walk alone. The floor is graphlib's own topological order of the same graph.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from graphlib import TopologicalSorter

from flyte_build.planning.closure import closure

from .context import Context
from .measure import Sample, in_turns
from .report import Case, Ratio

__all__ = ["cases", "stacked_diamonds"]

GOAL_SECONDS = 1.0


def stacked_diamonds(environments: int) -> dict[str, Sequence[str]]:
    """A chain of diamonds: each top depends on a left and a right, both on the next top; 2 ** (n / 3) paths."""
    graph: dict[str, Sequence[str]] = {}
    for i in range(environments // 3):
        graph[f"top{i}"] = [f"left{i}", f"right{i}"]
        graph[f"left{i}"] = graph[f"right{i}"] = [f"top{i + 1}"]
    graph[f"top{environments // 3}"] = []
    return graph


def cases(context: Context) -> Iterator[Case]:
    count = 999 if context.quick else 9_999
    graph = stacked_diamonds(count)

    def timed(work: Callable[[], object]) -> Callable[[], Sample]:
        def run() -> Sample:
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            return Sample(time.perf_counter() - wall, time.process_time() - cpu)

        return run

    series = in_turns(
        context.rounds,
        {
            "graphlib alone": timed(lambda: list(TopologicalSorter(graph).static_order())),
            "flyte-build's closure": timed(lambda: closure(["top0"], graph)),
        },
    )
    floor, ours = series
    ratios = [
        Ratio("wall: closure / graphlib alone", ours.wall / floor.wall),
        Ratio("closure", ours.wall, GOAL_SECONDS, unit="s"),
    ]
    yield Case(f"{len(graph):,} environments in stacked diamonds", series, ratios)
