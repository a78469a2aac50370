"""Which packages moved between two sets of locks."""

from __future__ import annotations

from dataclasses import replace

from flyte_build.asking.moving import Move, moves
from flyte_build.locks.nouns import Lock

from ..support.recipes import AMD64, deb, lock_of, recipe_of, wheel


def lock(name: str, *versions: str, security: bool = False) -> Lock:
    wheels = [wheel(*text.split()) for text in versions]
    ssl = replace(deb("libssl3", "2" if security else "1"), archive="debian-security" if security else "debian")
    return lock_of(recipe_of("a"), wheels, [deb("base-files"), ssl], environment=name)


def test_one_step_of_several_environments_is_one_move() -> None:
    before = {n: lock(n, "a 1.0", "b 1.0") for n in ("one", "two", "three")}
    after = {"one": lock("one", "a 2.0", "b 1.0"), "two": lock("two", "a 2.0", "c 1.0"), "new": lock("new", "a 9.0")}
    assert moves(before, after) == [
        Move("wheel", "a", "1.0", "2.0", ("one", "two"), (AMD64,)),
        Move("wheel", "b", "1.0", None, ("two",), (AMD64,)),
        Move("wheel", "c", None, "1.0", ("two",), (AMD64,)),
    ]


def test_an_update_from_the_security_archive_is_marked() -> None:
    found = moves({"one": lock("one")}, {"one": lock("one", security=True)})
    assert found == [Move("deb", "libssl3", "1", "2", ("one",), (AMD64,), security=True)]


def test_nothing_moved() -> None:
    assert moves({"one": lock("one", "a 1.0")}, {"one": lock("one", "a 1.0")}) == []
