"""No two files import each other, not by way of others, not for types, not inside a function."""

from __future__ import annotations

from .house import arrows, circles


def test_files_import_each_other_in_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for arrow in arrows():
        # The top of the package offers what is deep inside of it.
        if arrow.importer != "flyte_build":
            graph.setdefault(arrow.importer, set()).add(arrow.imported)
    assert len(graph) > 300
    assert circles(graph) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": {"c"}}) == []
