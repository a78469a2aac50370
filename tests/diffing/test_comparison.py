"""Differences: empty of a thing and itself, mirrored when turned around, complete for images of ours."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings

from flyte_build.deriving.derivation import ImageDerivation
from flyte_build.diffing.comparison import Change, Difference, NotKnown, difference
from flyte_build.diffing.contents import Contents, Package, of_derivation, of_spec
from flyte_build.diffing.locked import of_lock
from flyte_build.diffing.wording import brief
from flyte_build.kernel.canonical import canonical
from flyte_build.locks.lockfile import Lock
from flyte_build.recipe import Recipe
from tests.support.contents import contents, derivation, derivations, file, image, layer, locks, recipe
from tests.support.recipes import AMD64, deb, lock_of, wheel

_PARTS = ("facts", "wheels", "debs", "env", "labels", "config", "annotations", "copied", "files")


def turned(changes: tuple[Change[Any], ...] | None) -> tuple[Change[Any], ...] | None:
    return None if changes is None else tuple(Change(c.name, c.after, c.before) for c in changes)


def said(found: Difference, part: str) -> list[tuple[str, Any, Any]]:
    changes = getattr(found, part)
    assert changes is not None
    return [(c.name, c.before, c.after) for c in changes]


# -- properties ------------------------------------------------------------------------------------


@given(contents())
def test_a_thing_does_not_differ_from_itself(a: Contents) -> None:
    found = difference(a, a)
    assert found.empty
    assert brief(found) == []


@settings(max_examples=200)
@given(contents(), contents())
def test_turned_around_it_is_mirrored(a: Contents, b: Contents) -> None:
    there, back = difference(a, b), difference(b, a)
    assert there.empty == back.empty
    for part in _PARTS:
        assert getattr(back, part) == turned(getattr(there, part)), part
    assert (there.layers is None) == (back.layers is None)
    if there.layers is not None and back.layers is not None:
        assert there.layers.new == back.layers.gone
        assert there.layers.gone == back.layers.new
        assert {(j, i) for i, j in there.layers.pairs} == set(back.layers.pairs)
    sides = {"before": "after", "after": "before"}
    assert {(n.part, sides[n.side], n.why) for n in there.not_known} == {
        (n.part, n.side, n.why) for n in back.not_known
    }  # fmt: skip


@given(contents(), contents())
def test_json_has_a_canonical_form_that_json_gives_back(a: Contents, b: Contents) -> None:
    found = difference(a, b)
    document = found.to_json()
    assert json.loads(canonical(document)) == document
    assert document["equal"] is found.empty
    assert canonical(difference(a, b).to_json()) == canonical(document)


@settings(max_examples=200)
@given(derivations(), derivations())
def test_of_images_of_ours_it_is_empty_exactly_where_the_derivations_are_equal(
    a: ImageDerivation, b: ImageDerivation
) -> None:
    found = difference(of_derivation(a, "a"), of_derivation(b, "b"))
    assert found.empty == (a.hash == b.hash)
    assert bool(brief(found)) == (a.hash != b.hash)


@given(derivations())
def test_what_is_read_back_from_the_store_is_what_was_derived(a: ImageDerivation) -> None:
    """The store keeps the spec alone: file names without epochs, no sizes."""
    assert difference(of_derivation(a, "now"), of_spec(a.spec, "stored", "derivation", identity=a.hash)).empty


@given(locks())
def test_a_lock_and_its_image_agree_in_what_the_lock_tells(pair: tuple[Lock, Recipe]) -> None:
    lock, made = pair
    found = difference(of_lock(lock, AMD64, "lock"), of_derivation(derivation(lock, made), "env"))
    assert found.empty
    assert found.wheels == found.debs == found.env == found.config == ()


# -- packages --------------------------------------------------------------------------------------


def test_packages_are_added_removed_and_changed_with_versions_and_sizes() -> None:
    made = recipe("a")
    before = lock_of(made, [wheel("a", "1.0", size=10), wheel("gone"), wheel("same")], [deb("bash", "1")])
    after = lock_of(made, [wheel("a", "2.0", size=30), wheel("new"), wheel("same")], [deb("bash", "2", size=7)])
    found = difference(of_lock(before, AMD64, "x"), of_lock(after, AMD64, "y"))
    a1, a2, gone, new = wheel("a", "1.0"), wheel("a", "2.0"), wheel("gone"), wheel("new")
    assert said(found, "wheels") == [
        ("a", Package("1.0", 10, a1.sha256), Package("2.0", 30, a2.sha256)),
        ("gone", Package("1.0", 1000, gone.sha256), None),
        ("new", None, Package("1.0", 1000, new.sha256)),
    ]
    assert [c.kind for c in found.wheels or ()] == ["changed", "removed", "added"]
    assert [(n, a.version, b.version) for n, a, b in said(found, "debs")] == [("bash", "1", "2")]


def test_hashes_decide_where_both_know_them_else_versions() -> None:
    def packages(*found: Package) -> Contents:
        return Contents("x", "image", wheels={"a": found[0]}, debs={"d": found[-1]})

    exact, other, vague = Package("1", 5, "aa"), Package("1", 5, "bb"), Package("1")
    assert not difference(packages(exact), packages(other)).empty
    assert difference(packages(exact), packages(vague)).empty
    assert not difference(packages(Package("1:2")), packages(Package("3:2"))).empty
    assert difference(packages(Package("1:2")), packages(Package("2"))).empty, "file names have no epoch"
    assert not difference(packages(Package("1:2")), packages(Package("1:3"))).empty


def test_names_are_compared_normalised() -> None:
    spec = {
        "layers": [
            {"kind": "wheels", "title": "t", "wheels": [{"file": "My_Pkg.x-1.0-py3-none-any.whl", "sha256": "s"}]}
        ]
    }
    assert set(of_spec(spec, "s", "derivation").wheels or ()) == {"my-pkg-x"}


# -- configuration ---------------------------------------------------------------------------------


def test_environment_labels_and_other_settings_are_told_apart() -> None:
    before = Contents("a", "image", config={"Env": ["A=1", "B=x=y"], "User": "root", "Labels": {"l": "1"}, "Cmd": []})
    after = Contents("b", "image", config={"Env": ["A=2"], "WorkingDir": "/srv", "Labels": None, "Cmd": ["sh", "-c"]})
    found = difference(before, after)
    assert said(found, "env") == [("A", "1", "2"), ("B", "x=y", None)]
    assert said(found, "labels") == [("l", "1", None)]
    assert said(found, "config") == [
        ("Cmd", None, '["sh", "-c"]'),
        ("User", "root", None),
        ("WorkingDir", None, "/srv"),
    ]


def test_the_order_of_the_environment_is_a_difference_of_the_configuration() -> None:
    one, two = (
        Contents("a", "image", config={"Env": ["A=1", "B=2"]}),
        Contents("b", "image", config={"Env": ["B=2", "A=1"]}),
    )
    found = difference(one, two)
    assert said(found, "config") == [("order of Env", "A, B", "B, A")]
    assert said(found, "env") == []


def test_only_facts_that_both_know_are_compared() -> None:
    found = difference(
        Contents("a", "lock", facts={"python": "3.11", "resolver": "uv 1"}),
        Contents("b", "image", facts={"python": "3.13", "platform": "linux/amd64"}),
    )
    assert said(found, "facts") == [("python", "3.11", "3.13")]


# -- not known -------------------------------------------------------------------------------------


def test_what_one_does_not_tell_is_not_known_and_never_gone() -> None:
    made = recipe("a", copy=True)
    lock = lock_of(made, [wheel("a")])
    env = of_derivation(derivation(lock, made, {"root/main.py": "x"}), "env")
    found = difference(env, of_lock(lock, AMD64, "the lock"))
    assert found.empty
    assert found.copied is None
    assert found.files is None
    assert NotKnown("copied_files", "after", "a lock does not hold copied files") in found.not_known
    assert {n.part for n in found.not_known} == {"copied_files", "files", "layers"}


def test_layers_that_share_no_kind_of_identity_are_not_compared() -> None:
    ours = image(layer("x", known="derivation"), subject="ours")
    theirs = image(layer("x", known="digest"), layer("y", known="digest"), subject="theirs")
    found = difference(ours, theirs)
    assert found.layers is None
    assert [(n.side, n.why) for n in found.not_known if n.part == "layers"] == [
        ("before", "they are known by derivation only"),
        ("after", "they are known by digest only"),
    ]


# -- layers ----------------------------------------------------------------------------------------


def test_layers_are_shared_new_and_gone_with_their_bytes() -> None:
    found = difference(
        image(layer("base", {}, size=100), layer("old", {}, size=7)),
        image(layer("base", {}, size=100), layer("new", {}, size=9), layer("more", {}, size=None)),
    ).layers
    assert found is not None
    assert [b.title for _, b in found.shared] == ["base"]
    assert ([x.title for x in found.gone], [x.title for x in found.new]) == (["old"], ["new", "more"])
    assert (found.shared_bytes, found.gone_bytes, found.new_bytes) == (100, 7, None)


def test_the_same_layer_twice_is_two_layers() -> None:
    empty = layer("empty", {})
    found = difference(image(empty, empty), image(empty)).layers
    assert found is not None
    assert (len(found.shared), len(found.gone)) == (1, 1)


def test_layers_in_another_order_are_a_difference() -> None:
    a, b = layer("a", {"x": file("1")}), layer("b", {"x": file("2")})
    found = difference(image(a, b), image(b, a))
    assert found.layers is not None
    assert found.layers.reordered
    assert [(c.name, c.before, c.after) for c in found.files or ()] == [("x", file("2"), file("1"))]
    assert brief(found) == ["its layers are arranged differently"]


def test_another_title_is_another_image() -> None:
    a = layer("a", {})
    found = difference(image(a), image(replace(a, title="b")))
    assert not found.empty
    assert brief(found) == ["its layers are titled differently"]
