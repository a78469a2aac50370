"""What all kinds of layer have in common: order, parents, conflicts, hard links; and the kind ``files``."""

from __future__ import annotations

import hashlib
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.assemble.entries import Entry
from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.layer import arrange, layer_artifacts, write_layer
from flyte_build.assemble.version import ASSEMBLER
from tests.support.layers import SITE, wheel_layer, write
from tests.support.wheels import STORED, build_wheel


def file(path: str, content: bytes = b"x", mode: int = 0o644) -> tuple[str, Entry]:
    return "a.whl", Entry(path, "file", mode, (content,))


def paths(*sourced: tuple[str, Entry], complete: bool = True) -> list[str]:
    return [entry.path for entry in arrange(sourced, complete=complete)]


def test_sorted_by_bytes_with_folders_first() -> None:
    given_ = [file("b/c"), file("b-c"), file("b/é"), file("b/z"), file("a"), file("B")]
    assert paths(*given_) == ["B", "a", "b", "b-c", "b/c", "b/z", "b/é"]
    assert paths(*given_, complete=False) == ["B", "a", "b-c", "b/c", "b/z", "b/é"]


@given(st.lists(st.text("ab/", min_size=1, max_size=8), max_size=8), st.randoms(use_true_random=False))
def test_order_of_the_sources_does_not_matter(names: list[str], rng: random.Random) -> None:
    """Whatever is asked for, in every order: the same entries, or an error."""
    sourced = [file(name, name.encode()) for name in dict.fromkeys(names)]
    shuffled = list(sourced)
    rng.shuffle(shuffled)

    def outcome(given_: list[tuple[str, Entry]]) -> object:
        try:
            return arrange(given_, complete=True)
        except AssembleError:
            return "refused"

    assert outcome(sourced) == outcome(shuffled)


def test_every_parent_precedes_its_children() -> None:
    (a, b, c) = arrange([file("a/b/c")], complete=True)
    assert (a, b) == (Entry("a", "dir", 0o755), Entry("a/b", "dir", 0o755))
    assert c.kind == "file"


def test_an_explicit_folder_keeps_its_mode() -> None:
    folder = ("s", Entry("tmp", "dir", 0o1777))
    assert arrange([file("tmp/x"), folder], complete=True)[0].mode == 0o1777


def test_identical_twice_is_once() -> None:
    assert paths(file("a/x"), file("a/x")) == ["a", "a/x"]


@pytest.mark.parametrize(
    "other",
    [
        Entry("a/x", "file", 0o644, (b"y",)),
        Entry("a/x", "file", 0o755, (b"x",)),
        Entry("a/x", "symlink", 0o777, link="y"),
        Entry("a/x", "file", 0o644, (b"x",), uid=1),
        Entry("a/x", "dir", 0o755),
    ],
)
def test_two_that_disagree_are_both_named(other: Entry) -> None:
    with pytest.raises(AssembleError, match=r"^b\.whl: `a/x` is also in a\.whl, with other content or another mode"):
        arrange([file("a/x"), ("b.whl", other)], complete=True)


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_a_file_that_is_also_a_folder(kind: Any, complete: bool) -> None:
    odd = ("b.whl", Entry("a/b", kind, 0o644, link="x"))
    with pytest.raises(AssembleError, match=rf"^b\.whl: `a/b` is a {kind}, and a folder in a\.whl$"):
        arrange([file("a/b/c"), odd], complete=complete)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Entry("", "file", 0o644), "the path is empty"),
        (Entry("/etc/x", "file", 0o644), "the path is absolute"),
        (Entry("a/../b", "file", 0o644), r"a component `\.\.`"),
        (Entry("..", "file", 0o644), r"a component `\.\.`"),
        (Entry("./a", "file", 0o644), r"a component `\.`"),
        (Entry("a//b", "file", 0o644), "a component ``"),
        (Entry("a/", "dir", 0o755), "a component ``"),
        (Entry("a\0b", "file", 0o644), "a NUL"),
        (Entry("a/.wh.b", "file", 0o644), "a whiteout"),
        (Entry(".wh..wh..opq", "file", 0o644), "a whiteout"),
        (Entry("a\udcff", "file", 0o644), "not UTF-8"),
        (Entry("a", "file", 0o100644), "mode 100644 is more than permission bits"),
        (Entry("a", "symlink", 0o777), "the link has no target"),
        (Entry("a", "hardlink", 0o644, link="../a"), r"a component `\.\.`"),
    ],
)
def test_bad_entries(entry: Entry, message: str) -> None:
    with pytest.raises(AssembleError, match=message):
        arrange([("a.whl", entry)], complete=True)


def test_dots_in_names_are_fine() -> None:
    assert paths(file("a/.hidden"), file("a/..."), file("a/b..c"), file(".x"), file("a/wh.")) != []


def link(path: str, target: str) -> tuple[str, Entry]:
    return "base", Entry(path, "hardlink", 0o644, link=target)


def test_a_hard_link_follows_its_content(tmp_path: Path) -> None:
    """The archive's order is by path, so the content moves to the first of the names."""
    content = ("base", Entry("m", "file", 0o755, (b"x",), uid=7))
    entries = arrange([link("a", "m"), content, link("z", "a")], complete=True)
    assert [(e.path, e.kind, e.link, e.mode, e.uid) for e in entries] == [
        ("a", "file", "", 0o755, 7),
        ("m", "hardlink", "a", 0o755, 7),
        ("z", "hardlink", "a", 0o755, 7),
    ]


@pytest.mark.parametrize(
    "links",
    [[link("a", "gone")], [link("a", "b"), link("b", "a")], [link("a", "d"), ("base", Entry("d", "dir", 0o755))]],
)
def test_a_hard_link_to_no_file(links: list[tuple[str, Entry]]) -> None:
    with pytest.raises(AssembleError, match="which is no file of this layer"):
        arrange(links, complete=True)


def test_two_wheels_one_path(tmp_path: Path) -> None:
    one = build_wheel(tmp_path, "one", files={"shared/x.py": "1\n", "ns/__init__.py": "same\n"})
    two = build_wheel(tmp_path, "two", files={"shared/x.py": "2\n", "ns/__init__.py": "same\n"})
    layers = [write(wheel_layer(wheels), wheels, tmp_path) for wheels in ([one, two], [two, one])]
    assert layers[0] == layers[1]
    assert layers[0].contents()[f"{SITE}/shared/x.py"] == b"2\n"
    assert layers[0].result.warnings == (
        f"`{SITE}/shared/x.py` of one-1.0-py3-none-any.whl and of two-1.0-py3-none-any.whl are not the same; those of "
        "two-1.0-py3-none-any.whl are in the image",
    )


def test_two_wheels_one_path_that_is_a_folder_too(tmp_path: Path) -> None:
    one = build_wheel(tmp_path, "one", files={"shared": "1\n"})
    two = build_wheel(tmp_path, "two", files={"shared/x.py": "2\n"})
    with pytest.raises(AssembleError, match=f"`{SITE}/shared` is a file, and a folder in two-1.0"):
        write(wheel_layer([one, two]), [one, two], tmp_path)


def test_two_wheels_one_path_the_same(tmp_path: Path) -> None:
    """Compressed differently, but the same file: the order of the wheels in the plan makes no difference."""
    one = build_wheel(tmp_path, "one", files={"ns/__init__.py": "same\n"})
    two = build_wheel(tmp_path, "two", files={"ns/__init__.py": "same\n"}, method=STORED)
    layers = [write(wheel_layer(wheels), wheels, tmp_path) for wheels in ([one, two], [two, one])]
    assert layers[0] == layers[1]
    assert layers[0].contents()[f"{SITE}/ns/__init__.py"] == b"same\n"


def test_a_plan_of_another_assembler_is_refused(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path, "one")
    with pytest.raises(
        AssembleError, match=f"the plan is for assembler {ASSEMBLER + 1}, this is assembler {ASSEMBLER}"
    ):
        write(wheel_layer([wheel]) | {"assembler": ASSEMBLER + 1}, [wheel], tmp_path)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssembleError, match="found `snap`"):
        write({"kind": "snap", "assembler": ASSEMBLER, "title": "x"}, [], tmp_path)


# -- files -------------------------------------------------------------------------------------------


def files_layer(source: Path) -> dict[str, Any]:
    owner = {"uid": 1000, "gid": 1000}
    content = source.read_bytes()
    row = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    return {
        "kind": "files",
        "assembler": ASSEMBLER,
        "title": "copy src",
        "files": [
            {"path": "/home/flyte/src", "mode": 0o755, "dir": True, **owner},
            {"path": "/home/flyte/src/main.py", "mode": 0o640, **row, **owner},
            {"path": "/home/flyte/src/link", "mode": 0o777, "link": "main.py", **owner},
            {"path": "/home/flyte/empty", "mode": 0o700, "dir": True, **owner},
        ],
    }


def test_files_have_their_modes_and_owner(tmp_path: Path) -> None:
    source = tmp_path / "main.py"
    source.write_text("print('x')\n")
    layer = write(files_layer(source), [source], tmp_path)
    shown = [(m.name, m.mode, m.uid, m.gid, m.linkname) for m in layer.members()]
    assert shown == [
        ("home/flyte/empty", 0o700, 1000, 1000, ""),
        ("home/flyte/src", 0o755, 1000, 1000, ""),
        ("home/flyte/src/link", 0o777, 1000, 1000, "main.py"),
        ("home/flyte/src/main.py", 0o640, 1000, 1000, ""),
    ]
    assert layer.contents() == {"home/flyte/src/main.py": b"print('x')\n"}
    assert layer_artifacts(files_layer(source)) == {
        hashlib.sha256(source.read_bytes()).hexdigest(): "/home/flyte/src/main.py"
    }


def test_folders_above_copied_files_are_left_to_the_layers_below(tmp_path: Path) -> None:
    """An entry for /home/flyte would take it from the user."""
    source = tmp_path / "main.py"
    source.write_text("x")
    assert "home/flyte" not in write(files_layer(source), [source], tmp_path).result.listing


@pytest.mark.parametrize("change", ["longer\n", "y"])
def test_a_file_that_changed_is_refused(tmp_path: Path, change: str) -> None:
    source = tmp_path / "main.py"
    source.write_text("x")
    spec = files_layer(source)
    source.write_text(change)
    with pytest.raises(AssembleError, match=r"/home/flyte/src/main\.py: expected 1 bytes with SHA-256"):
        write_layer(spec, lambda _: str(source), open("/dev/null", "wb"), scratch=str(tmp_path))  # noqa: SIM115


def test_tar_unpacks_what_was_put_in(tmp_path: Path) -> None:
    source = tmp_path / "main.py"
    source.write_bytes(random.Random(1).randbytes(300_000))
    (tmp_path / "root").mkdir()
    layer = write(files_layer(source), [source], tmp_path)
    subprocess.run(["tar", "-xzf", "-", "-C", str(tmp_path / "root")], input=layer.blob, check=True)
    assert (tmp_path / "root/home/flyte/src/link").read_bytes() == source.read_bytes()
