"""A sketch says where another outcome begins to differ, in a few rows."""

from __future__ import annotations

from flyte_build.sealing import differing, first_difference, sketch

FEW = {"a": "1", "b": "2", "c": "3"}
MANY = {f"p{n:04}": str(n) for n in range(1000)}


def test_of_few_paths_each_has_a_row() -> None:
    assert [last for last, _ in sketch(FEW)] == ["a", "b", "c"]
    assert sketch({}) == ()


def test_of_many_there_are_at_most_32() -> None:
    rows = sketch(MANY)
    assert len(rows) == 32
    assert rows[-1][0] == "p0999"


def test_the_same_differs_nowhere() -> None:
    assert first_difference(sketch(FEW), FEW) is None
    assert first_difference(sketch(MANY), MANY) is None


def test_the_first_difference_is_named() -> None:
    assert first_difference(sketch(FEW), FEW | {"b": "x", "c": "y"}) == "`b`"
    assert first_difference(sketch(FEW), FEW | {"d": "4"}) == "`d`, which is new"
    assert first_difference(sketch(FEW), {"a": "1", "c": "3"}) == "`b`, which is missing"
    assert first_difference(sketch(MANY), MANY | {"p0040": "x"}) == "one of the 32 from `p0032` to `p0063`"


def test_two_listings_differ_in_paths() -> None:
    assert differing(FEW, {"b": "2", "c": "x", "d": "4"}) == ("a", "c", "d")
