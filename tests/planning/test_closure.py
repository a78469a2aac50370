"""The walk over depends_on: order, cycles, and linear work."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.kernel.errors import LoadError
from flyte_build.planning.closure import closure


def test_dependencies_come_before_their_dependents_and_nothing_else_is_reached() -> None:
    graph = {"main": ["fold", "msa"], "fold": ["msa"], "msa": [], "other": ["main"]}
    assert closure(["main"], graph) == ["msa", "fold", "main"]


def test_a_cycle_is_printed_along_its_arrows() -> None:
    with pytest.raises(LoadError) as e:
        closure(["a"], {"a": ["b"], "b": ["c"], "c": ["a"]})
    path = e.value.message.split(": ")[1].split(" → ")
    assert path[0] == path[-1]
    assert set(path) == {"a", "b", "c"}
    edges = {"a": "b", "b": "c", "c": "a"}
    assert all(edges[x] == y for x, y in itertools.pairwise(path))


def test_an_environment_that_depends_on_itself() -> None:
    with pytest.raises(LoadError, match="a → a"):
        closure(["a"], {"a": ["a"]})


def test_stacked_diamonds_are_walked_once() -> None:
    """2**200 paths, 601 environments: a walk along paths would never end."""
    graph: dict[str, list[str]] = {"n200": []}
    for i in range(200):
        graph[f"n{i}"] = [f"l{i}", f"r{i}"]
        graph[f"l{i}"] = graph[f"r{i}"] = [f"n{i + 1}"]
    order = closure(["n0"], graph)
    assert len(order) == 601
    assert order[0] == "n200"
    assert order[-1] == "n0"


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40), st.integers(0, 12))
def test_the_order_is_topological_and_complete(edges: list[tuple[int, int]], start: int) -> None:
    """On random acyclic graphs (edges from smaller to larger), against reachability by repeated relaxation."""
    graph: dict[str, list[str]] = {str(i): [] for i in range(13)}
    for a, b in edges:
        if a < b:
            graph[str(a)].append(str(b))
    reached = {str(start)}
    while any(b not in reached for a in reached for b in graph[a]):
        reached |= {b for a in reached for b in graph[a]}
    order = closure([str(start)], graph)
    assert sorted(order) == sorted(reached)
    assert all(order.index(b) < order.index(a) for a in order for b in graph[a])
