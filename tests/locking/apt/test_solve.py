"""The solver: its choices, its words, and a brute-force check that it misses nothing."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyte_build.kernel.errors import ResolutionError
from flyte_build.locking.apt.omissions import OMISSIONS, Omission
from flyte_build.locking.apt.package import Package, Relation, parse_clauses, parse_package
from flyte_build.locking.apt.solve import Solution, solve
from flyte_build.locking.apt.universe import Universe


class Listed:
    """A listing of packages given as they are."""

    def __init__(self, packages: Sequence[Package]) -> None:
        self.packages = packages
        self.essential: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(p.name for p in self.packages)

    def versions(self, name: str) -> list[Package]:
        return [p for p in self.packages if p.name == name]

    def providers(self, name: str) -> list[Package]:
        return [p for p in self.packages if any(r.name == name for r in p.provides)]


def package(name: str, version: str = "1", archive: str = "debian", **fields: str) -> Package:
    stanza = {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        "Filename": f"pool/main/{name[0]}/{name}/{name}_{version}_amd64.deb",
        "Size": "1",
        "SHA256": "0" * 64,
        **{k.replace("_", "-"): v for k, v in fields.items()},
    }
    return parse_package(stanza, "amd64", archive)


def universe(*packages: Package) -> Universe:
    return Universe([Listed(packages)], "test (main, amd64)")


def names(solution: Solution) -> list[str]:
    return [str(p) for p in solution.chosen]


def run(text: str, *packages: Package, **kwargs: object) -> Solution:
    wanted = [clause[0] for clause in parse_clauses(text)]
    return solve(universe(*packages), wanted, **{"omissions": {}, **kwargs})  # type: ignore[arg-type]


def test_the_closure_of_pre_depends_and_depends_at_the_highest_versions() -> None:
    found = run(
        "a",
        package("a", Pre_Depends="b", Depends="c (>= 2)"),
        package("b", "1"),
        package("b", "1.10"),
        package("b", "1.9"),
        package("c", "2"),
        package("z"),
    )
    assert names(found) == ["a 1", "b 1.10", "c 2"]


def test_equal_versions_of_two_archives_count_once_and_the_earlier_listing_wins() -> None:
    main, security = package("a", "1.0"), package("a", "1.00", archive="debian-security")
    both = Universe([Listed([main]), Listed([security])], "test")
    assert solve(both, [Relation("a")], omissions={}).chosen == (main,)


def test_the_first_alternative_unless_one_is_there_already() -> None:
    parts = (package("a", Depends="x | y"), package("b", Depends="y"), package("x"), package("y"))
    assert names(run("a", *parts)) == ["a 1", "x 1"]
    # What is asked for comes before what is only needed.
    assert names(run("a, y", *parts)) == ["a 1", "y 1"]


def test_a_virtual_package_is_provided_by_priority_then_name() -> None:
    parts = (
        package("a", Depends="awk"),
        package("gawk", Provides="awk", Priority="optional"),
        package("mawk", Provides="awk", Priority="required"),
        package("zawk", Provides="awk", Priority="required"),
    )
    assert names(run("a", *parts)) == ["a 1", "mawk 1"]


def test_only_a_versioned_provides_satisfies_a_bound() -> None:
    parts = (
        package("a", Depends="v (>= 2)"),
        package("p", Provides="v"),
        package("q", Provides="v (= 1)"),
        package("r", Provides="v (= 2)"),
    )
    assert names(run("a", *parts)) == ["a 1", "r 1"]


def test_it_goes_back_when_a_choice_leads_nowhere() -> None:
    parts = (
        package("a", Depends="x | y, z"),
        package("x", Conflicts="z"),
        package("y"),
        package("z"),
        package("b", "2", Depends="gone"),
        package("b", "1"),
    )
    assert names(run("a", *parts)) == ["a 1", "y 1", "z 1"]
    assert names(run("b", *parts)) == ["b 1"]


def test_breaks_within_its_bound_only_and_never_itself() -> None:
    parts = (
        package("a", Depends="b", Provides="role", Conflicts="role", Breaks="b (<< 1)"),
        package("b"),
        package("c", Provides="role"),
    )
    assert names(run("a", *parts)) == ["a 1", "b 1"]
    with pytest.raises(ResolutionError) as e:
        run("a, c", *parts)
    assert "`c` was asked for, but a 1 is in conflict with c 1 (`role`)" in e.value.message


def test_given_packages_stay_and_are_not_listed_again() -> None:
    old = package("b", "1")
    parts = (package("a", Depends="b"), package("c", Depends="b (>= 2)"), old, package("b", "2"))
    assert names(run("a", *parts, given=(old,))) == ["a 1"]
    with pytest.raises(ResolutionError) as e:
        run("c", *parts, given=(old,))
    assert e.value.message == "test (main, amd64): c 1 depends on `b (>= 2)`, but b 1 is already in the image"


def test_cycles_are_closures_too() -> None:
    assert names(run("a", package("a", Depends="b"), package("b", Depends="a"))) == ["a 1", "b 1"]


def test_a_missing_package_suggests_near_names() -> None:
    with pytest.raises(ResolutionError) as e:
        run("grpahviz", package("graphviz"), package("grep"))
    assert e.value.message == "test (main, amd64): there is no package `grpahviz`"
    assert e.value.hint == "did you mean `graphviz`"


def test_a_version_that_is_gone_names_those_that_are_there() -> None:
    with pytest.raises(ResolutionError, match=r"`a \(= 9\)` was asked for, and the archive has a 2, 1$"):
        run("a (= 9)", package("a", "1"), package("a", "2"))


def test_an_unsatisfiable_dependency_says_who_needs_what_and_what_there_is() -> None:
    parts = (
        package("a", Depends="b"),
        package("b", Depends="c (>= 9) | d (>= 3) | e"),
        package("c", "1"),
        package("p", Provides="d"),
    )
    with pytest.raises(ResolutionError) as e:
        run("a", *parts)
    assert e.value.message == (
        "test (main, amd64): b 1 depends on `c (>= 9)` | `d (>= 3)` | `e`, but the archive has c 1; "
        "d is provided by p 1, not in that version; the archive has no package e"
    )
    assert e.value.detail == "needed by: b 1 ← a 1"


def test_a_hopeless_search_ends() -> None:
    parts = [package("top", Depends=", ".join(f"v{i}" for i in range(30)) + ", gone")]
    for i in range(30):
        parts += [package(f"p{i}", Provides=f"v{i}"), package(f"q{i}", Provides=f"v{i}")]
    with pytest.raises(ResolutionError, match=r"depends on `gone`.*\(and 20000 other ways led nowhere\)"):
        run("top", *parts)


def test_a_cut_package_is_reported_with_who_named_it_and_its_dependencies_are_not_followed() -> None:
    cut = {"dpkg": Omission("scripts", kept_for=frozenset({"devtool"}))}
    parts = (
        package("a", Pre_Depends="dpkg (>= 1)", Depends="b"),
        package("b", Depends="dpkg | x"),
        package("devtool", Depends="dpkg"),
        package("dpkg", Depends="huge"),
        package("huge"),
    )
    found = run("a", *parts, omissions=cut)
    assert names(found) == ["a 1", "b 1"]
    assert [(o.name, o.reason, o.named_by) for o in found.omitted] == [("dpkg", "scripts", ("a", "b"))]
    assert names(run("a, devtool", *parts, omissions=cut)) == ["a 1", "devtool 1", "b 1", "dpkg 1", "huge 1"]
    asked = run("dpkg, a", *parts, omissions=cut)
    assert names(asked) == ["dpkg 1", "a 1", "huge 1", "b 1"]
    assert asked.omitted == ()


def test_a_cut_for_some_only() -> None:
    cut = {"openssl": Omission("bundle", only_from=frozenset({"ca"}))}
    parts = (package("ca", Depends="openssl"), package("tool", Depends="openssl"), package("openssl"))
    assert names(run("ca", *parts, omissions=cut)) == ["ca 1"]
    assert names(run("tool", *parts, omissions=cut)) == ["tool 1", "openssl 1"]


def test_the_list_of_omissions_gives_reasons_and_never_cuts_perl_base() -> None:
    assert "perl-base" not in OMISSIONS
    assert all(o.reason and not o.reason.endswith(".") for o in OMISSIONS.values())
    assert not any(o.applies(None) for o in OMISSIONS.values())


# -- against brute force -----------------------------------------------------------------------------

NAMES = "abcde"
VIRTUAL = "vw"


@st.composite
def archives(draw: st.DrawFn) -> list[Package]:
    bound = st.sampled_from(["", " (>= 2)", " (<< 2)", " (= 1)", " (= 2)"])
    relation = st.builds(lambda n, b: n + b, st.sampled_from(NAMES + VIRTUAL), bound)
    clause = st.lists(relation, min_size=1, max_size=2).map(" | ".join)
    clauses = st.lists(clause, max_size=2).map(", ".join)
    some = st.one_of(st.just(""), relation)
    provided = st.one_of(st.just(""), st.sampled_from(["v", "w", "v (= 1)", "v (= 2)", "w (= 2)"]))
    keys = draw(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from("12")), unique=True, max_size=8))
    return [
        package(n, v, Depends=draw(clauses), Conflicts=draw(some), Breaks=draw(some), Provides=draw(provided))
        for n, v in keys
    ]


def holds(packages: Sequence[Package], wanted: Sequence[Relation]) -> bool:
    """Policy's rules, said once more and naively."""
    if not all(any(r.matched_by(p) for p in packages) for r in wanted):
        return False
    for p in packages:
        if any(not any(r.matched_by(q) for r in clause for q in packages) for clause in p.depends):
            return False
        if any(r.matched_by(q) for r in p.against for q in packages if q is not p):
            return False
    return True


def selections(packages: Sequence[Package]) -> list[list[Package]]:
    """Every choice of at most one version a name."""
    groups = [[None, *(p for p in packages if p.name == n)] for n in sorted({p.name for p in packages})]
    return [[p for p in choice if p is not None] for choice in itertools.product(*groups)]


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(archives(), st.lists(st.sampled_from(NAMES + VIRTUAL), min_size=1, max_size=3, unique=True), st.randoms())
def test_it_finds_a_closure_exactly_when_there_is_one(
    packages: list[Package], wanted: list[str], shuffler: random.Random
) -> None:
    relations = [Relation(n) for n in wanted]
    possible = any(holds(s, relations) for s in selections(packages))
    shuffled = list(packages)
    shuffler.shuffle(shuffled)
    if not possible:
        with pytest.raises(ResolutionError):
            solve(universe(*packages), relations, omissions={})
        return
    found = solve(universe(*packages), relations, omissions={})
    assert holds(found.chosen, relations)
    # Nothing is there that no request and no dependency led to.
    for p in found.chosen:
        led = any(r.matched_by(p) for r in relations)
        assert led or any(r.matched_by(p) for q in found.chosen for c in q.depends for r in c)
    assert solve(universe(*shuffled), relations, omissions={}) == found
