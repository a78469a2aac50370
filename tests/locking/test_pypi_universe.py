"""Who is solved together: found by halving, the same as adding one environment after the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyte_build.kernel.reporting import Recorder, Silent
from flyte_build.locking.pypi import NoSolution, Question, Wanted, solve_universe
from flyte_build.locking.pypi.question import Answer
from flyte_build.recipe import Recipe
from flyte_build.sources.indexes import Index, IndexSettings

from ..support.locking import BOOKWORM, recipe

NOWHERE = IndexSettings(Index("https://index.example/simple"))


class Versions:
    """A resolver of requirements ``pN==V``: no solution when one package is wanted in two versions."""

    name, version = "test", "1"

    def __init__(self) -> None:
        self.questions: list[Question] = []

    def resolve(self, question: Question) -> Answer:
        self.questions.append(question)
        pairs = [tuple(text.split("==")) for text in question.requirements]
        if len({package for package, _ in pairs}) < len(set(pairs)) or "bad==1" in question.requirements:
            raise NoSolution("no versions fit together", detail="the words")
        return Answer({}, ())


def solve(recipes: dict[str, Recipe], resolver: Versions) -> dict[str, str]:
    wanted = [Wanted(name, r, BOOKWORM) for name, r in recipes.items()]
    universe = solve_universe(
        wanted,
        resolver,
        NOWHERE,
        root=Path(),
        preferences={},
        cutoff=None,
        refresh=False,
        reporter=Silent(),
    )
    return universe.apart


def first_fit(recipes: dict[str, Recipe]) -> list[list[str]]:
    groups: list[list[str]] = []
    for name in sorted(recipes):
        for group in groups:
            try:
                Versions().resolve(Question(BOOKWORM, _requirements(recipes, [*group, name]), NOWHERE))
            except NoSolution:
                continue
            group.append(name)
            break
        else:
            groups.append([name])
    return groups


def _requirements(recipes: dict[str, Recipe], names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(r for n in names for step in recipes[n].pip_steps for r in step.requirements))


PINS = st.dictionaries(st.sampled_from(["p0", "p1", "p2"]), st.sampled_from("123"), max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(PINS, min_size=1, max_size=9))
def test_halving_finds_what_one_by_one_finds(monkeypatch: pytest.MonkeyPatch, wishes: list[dict[str, str]]) -> None:
    monkeypatch.setattr("flyte_build.locking.pypi.universe.closure", lambda *_: {})
    recipes = {f"e{i}": recipe(" ".join(f"{p}=={v}" for p, v in sorted(w.items()))) for i, w in enumerate(wishes)}
    apart = solve(recipes, Versions())
    assert sorted(apart) == sorted(name for group in first_fit(recipes)[1:] for name in group)


def test_one_that_conflicts_among_many_is_found_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyte_build.locking.pypi.universe.closure", lambda *_: {})
    recipes = {f"e{i:02}": recipe("p==1") for i in range(40)} | {"e20x": recipe("p==2")}
    resolver = Versions()
    assert solve(recipes, resolver) == {"e20x": "no solution with e00: p==2 here, p==1 there"}
    assert len(resolver.questions) < 15


def test_the_environment_without_a_solution_is_the_one_named() -> None:
    recipes = {"a": recipe("p==1"), "b": recipe("bad==1"), "c": recipe("p==1")}
    with pytest.raises(NoSolution, match="environment b: no versions fit together") as e:
        solve(recipes, Versions())
    assert e.value.detail == "the words"


def test_what_is_resolved_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyte_build.locking.pypi.universe.closure", lambda *_: {})
    said = Recorder()
    solve_universe(
        [Wanted("e", recipe("p==1"), BOOKWORM)],
        Versions(),
        NOWHERE,
        root=Path(),
        preferences={},
        cutoff=None,
        refresh=False,
        reporter=said,
    )
    assert said.titles[0] == "resolving e for linux/amd64, Python 3.11, glibc 2.36"
