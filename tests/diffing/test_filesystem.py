"""What a stack of layers shows, and which differences are certain when some of its layers are not known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.diffing.comparison import Difference, difference
from flyte_build.diffing.contents import Contents
from flyte_build.diffing.entries import File, differs, of_identity
from flyte_build.diffing.filesystem import merged
from tests.support.contents import file, image, layer

FOLDER = File("folder", 0o755)


def changed(found: Difference) -> list[str]:
    assert found.files is not None
    return [f"{c.kind} {c.name}" for c in found.files]


# -- one path --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ("f 0644 12 0a1b2c3d", File("file", 0o644, 12, "0a1b2c3d")),
        ("f 4755 0 00000000 1000:1000", File("file", 0o4755, 0, "00000000", owner="1000:1000")),
        ("d 1777", File("folder", 0o1777)),
        ("d 0700 0:5", File("folder", 0o700, owner="0:5")),
        ("l ../a file", File("link", link="../a file")),
        ("l a 1:2", File("link", link="a", owner="1:2")),
        ("h usr/bin/perl", File("hardlink", link="usr/bin/perl")),
    ],
)
def test_a_listing_is_read(identity: str, expected: File) -> None:
    assert of_identity(identity) == expected


@pytest.mark.parametrize("identity", ["", "x 1", "f 0644 12", "d rwx"])
def test_what_is_no_listing_is_refused(identity: str) -> None:
    with pytest.raises(ValueError):
        of_identity(identity)


def test_contents_are_compared_by_what_both_know() -> None:
    assert differs(file("x", sums="sha256"), file("x")) is False
    assert differs(file("x", sums="crc32"), file("y")) is True
    assert differs(file("x", sums="crc32"), file("x", sums="sha256")) is None
    assert differs(file("x", sums="crc32"), file("xx", sums="sha256")) is True, "another size"
    assert differs(file("", sums="crc32"), file("", sums="sha256")) is False, "nothing is nothing"
    assert differs(file("x"), file("x", mode=0o600)) is True
    assert differs(FOLDER, File("link", link="x")) is True


# -- stacks ----------------------------------------------------------------------------------------


def test_upper_layers_win_and_whiteouts_remove() -> None:
    view = merged([
        {"a": FOLDER, "a/b": file("1"), "a/c": file("1"), "d": FOLDER, "d/e": file("1"), "f": FOLDER, "f/g": file("1")},
        {"a/b": file("2"), "a/.wh.c": file(""), ".wh.d": file(""), "f/.wh..wh..opq": file(""), "f/h": file("2")},
    ])  # fmt: skip
    assert view == {"a": FOLDER, "a/b": file("2"), "f": FOLDER, "f/h": file("2")}


def test_a_whiteout_does_not_touch_its_own_layer_nor_names_that_only_begin_alike() -> None:
    view = merged([{"a": file("1"), "ab": file("1")}, {".wh.a": file(""), "a": FOLDER, "a/x": file("2")}])
    assert view == {"a": FOLDER, "a/x": file("2"), "ab": file("1")}


def test_a_file_in_the_place_of_a_folder_hides_what_was_in_it() -> None:
    assert merged([{"a": FOLDER, "a/b": file("1")}, {"a": File("link", link="c")}]) == {"a": File("link", link="c")}


@given(
    st.lists(st.dictionaries(st.sampled_from(["a", "b", "c/d"]), st.sampled_from([file("x"), file("y")])), max_size=4)
)
def test_without_whiteouts_and_folders_a_stack_is_a_chain_of_updates(layers: list[dict[str, File]]) -> None:
    expected: dict[str, File] = {}
    for files in layers:
        expected |= files
    assert merged(layers) == expected


# -- certainty -------------------------------------------------------------------------------------


def test_complete_images_differ_path_by_path() -> None:
    before = image(layer("base", {"a": file("1"), "b": file("1")}), layer("one", {"c": file("1")}))
    after = image(layer("base", {"a": file("1"), "b": file("1")}), layer("two", {"b": file("2"), "d": file("1")}))
    assert changed(difference(before, after)) == ["changed b", "removed c", "added d"]


def test_a_layer_that_is_not_known_may_hold_what_seems_to_be_gone() -> None:
    before = image(layer("base", {"a": file("1")}), layer("pandas 1", {"p": file("1")}))
    after = image(layer("base", {"a": file("1")}), layer("pandas 2"))
    found = difference(before, after)
    assert changed(found) == []
    assert [(n.side, n.why) for n in found.unknown("files")] == [("after", "`pandas 2`: the layer was not built here")]


def test_what_lies_above_every_unknown_layer_is_certain() -> None:
    before = image(layer("old"), layer("copy 1", {"main.py": file("1"), "only": file("1")}))
    after = image(layer("new"), layer("copy 2", {"main.py": file("2")}))
    assert changed(difference(before, after)) == ["changed main.py"]


def test_what_either_knows_of_a_shared_layer_holds_for_both() -> None:
    before = image(layer("base"), layer("one", {"x": file("1")}))
    after = image(layer("base", {"x": file("0")}), layer("two", {"y": file("1")}))
    assert changed(difference(before, after)) == ["changed x", "added y"]


def test_an_unknown_layer_of_both_matters_only_where_something_else_differs() -> None:
    base = layer("base")
    same = difference(image(base, layer("one", {"x": file("1")})), image(base, layer("one", {"x": file("1")})))
    assert (changed(same), same.unknown("files")) == ([], ())
    apart = difference(image(base, layer("one", {"x": file("1")})), image(base, layer("two", {"y": file("1")})))
    assert changed(apart) == [], "the base may hold x and y"
    assert {n.side for n in apart.unknown("files")} == {"before", "after"}


def test_equal_sizes_and_sums_of_two_kinds_are_said_to_be_undecided() -> None:
    before = image(layer("one", {"x": file("1", sums="crc32")}))
    after = image(layer("two", {"x": file("2", sums="sha256")}))
    found = difference(before, after)
    assert changed(found) == []
    assert {n.why for n in found.unknown("files")} == {
        "files of equal size, known by SHA-256 in one and by CRC-32 in the other: 1"
    }


def test_nothing_known_on_one_side_is_no_comparison() -> None:
    found = difference(image(layer("one", {"x": file("1")})), image(layer("two")))
    assert found.files is None
    assert [n.side for n in found.unknown("files")] == ["after"]


def test_images_without_layers_have_no_files_to_differ() -> None:
    assert difference(Contents("a", "image", layers=()), Contents("b", "image", layers=())).files == ()


_LAYERS = {name: {name: file("1"), "common": file(name)} for name in "abcd"}


@given(
    st.lists(st.sampled_from("abcd"), unique=True),
    st.lists(st.sampled_from("abcd"), unique=True),
    st.sets(st.sampled_from("abcd")),
)
def test_knowing_less_never_invents_a_change(before: list[str], after: list[str], hidden: set[str]) -> None:
    def stack(names: list[str], without: set[str]) -> Contents:
        return image(*(layer(n, None if n in without else _LAYERS[n]) for n in names))

    full = difference(stack(before, set()), stack(after, set()))
    less = difference(stack(before, hidden), stack(after, hidden))
    assert set(less.files or ()) <= set(full.files or ())
    if not less.unknown("files") and less.files is not None:
        assert less.files == full.files
