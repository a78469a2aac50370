"""Relations, versions and stanzas: Debian policy's grammar."""

from __future__ import annotations

import pytest

from flyte_build.locking.apt.package import Relation, Version, parse_clauses, parse_package

ORDERED = ["1.0~rc1", "1.0", "1.0-1~deb12u1", "1.0-1", "1.0-1+b1", "1.0-2", "1.10-1", "2.0~~", "2.0~", "2.0", "1:0.1"]


def test_versions_are_ordered_by_policy() -> None:
    assert sorted(sorted(ORDERED), key=Version) == ORDERED
    assert Version("1.0") == Version("1.00")
    assert Version("0:1.0") == Version("1.0")
    with pytest.raises(TypeError):
        hash(Version("1.0"))


def test_clauses_with_alternatives_bounds_and_qualifiers() -> None:
    assert parse_clauses("libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0, python3:any,gcc:amd64 (=1:2~3) ,") == (
        (Relation("libc6", ">=", "2.36"),),
        (Relation("debconf", ">=", "0.5"), Relation("debconf-2.0")),
        (Relation("python3"),),
        (Relation("gcc", "=", "1:2~3", "amd64"),),
    )
    assert parse_clauses("") == ()
    assert parse_clauses("a (< 1), b (> 1)") == ((Relation("a", "<=", "1"),), (Relation("b", ">=", "1"),))


@pytest.mark.parametrize("text", ["a (>= )", "a (~ 1)", "a b", "a | | b", "a (>= 1", "${misc:Depends}"])
def test_what_is_no_relation_is_an_error_that_shows_it(text: str) -> None:
    with pytest.raises(ValueError, match="expected a relation"):
        parse_clauses(text)


def stanza(**fields: str) -> dict[str, str]:
    return {
        "Package": "libfoo1",
        "Version": "1:1.0-1",
        "Architecture": "all",
        "Filename": "pool/updates/main/f/foo/libfoo1_1.0-1_all.deb",
        "Size": "10",
        "SHA256": "A" * 64,
        **fields,
    }


def test_a_stanza_becomes_a_package() -> None:
    fields = {"Pre-Depends": "p", "Depends": "d | e", "Conflicts": "c", "Breaks": "b (<< 2)", "Provides": "v (= 3), w"}
    package = parse_package(stanza(Source="foo (1.0)", Priority="required", **fields), "amd64", "debian-security")
    assert (package.source, package.component, package.rank, package.sha256) == ("foo", "updates/main", 0, "a" * 64)
    assert package.depends == ((Relation("p"),), (Relation("d"), Relation("e")))
    assert package.against == (Relation("c"), Relation("b", "<<", "2"))
    assert package.provides == (Relation("v", "=", "3"), Relation("w"))


@pytest.mark.parametrize(
    ("relation", "matches"),
    [
        ("libfoo1", True),
        ("libfoo1 (>= 1:1.0)", True),
        ("libfoo1 (>> 1:1.0-1)", False),
        ("libfoo1:amd64", True),
        ("libfoo1:i386", False),
        ("v", True),
        ("v (= 3)", True),
        ("v (>= 4)", False),
        ("w", True),
        ("w (>= 0)", False),
    ],
)
def test_what_a_relation_means(relation: str, matches: bool) -> None:
    package = parse_package(stanza(Provides="v (= 3), w"), "amd64", "debian")
    assert parse_clauses(relation)[0][0].matched_by(package) is matches


@pytest.mark.parametrize("fields", [{"Filename": "x.deb"}, {"Size": "ten"}, {"Depends": "a b"}])
def test_a_malformed_stanza_is_an_error(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        parse_package(stanza(**fields), "amd64", "debian")
