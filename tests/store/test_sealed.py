"""Seals as files that anyone may have written: differences in words, and never a traceback."""

from __future__ import annotations

import hashlib
import json
import os
import random
import zlib
from pathlib import Path

import pytest

from flyte_build.store.seal_files import beside, find_listing, lies, write_seal
from flyte_build.store.sealed import Examiner, extend, records, seal

OF = "sha256:" + "a" * 64


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    (made / "folder" / "inner").mkdir(parents=True)
    (made / "folder" / "file").write_bytes(b"content")
    (made / "folder" / "\udcff name").write_bytes(b"")
    (made / "link").symlink_to("folder/\udcfe")
    for path in (made / "folder" / "file", made / "folder" / "\udcff name"):
        os.utime(path, ns=(10**18, 10**18))
    seal(made, made, OF, (), lambda _: None)
    return made


def test_a_tree_is_as_it_was_sealed(tree: Path) -> None:
    for full in (False, True):
        assert Examiner().look(tree, OF, (), full=full) == ()
    assert set(records(tree).values()) == {hashlib.sha256(x).hexdigest() for x in (b"content", b"")}


def test_a_digest_that_the_writer_saw_is_not_read_again(tree: Path) -> None:
    digest = seal(tree, tree, OF, (), lambda _: "f" * 64)
    listing = find_listing(tree)
    assert listing is not None
    assert listing.seal == digest
    assert Examiner().look(tree, OF) == ()
    [wrong] = Examiner().look(tree, OF, full=True)
    assert str(wrong).startswith("folder/file: expected a file with mode 0644, 7 bytes, SHA-256 fff")


def test_how_the_writer_saw_files_lie_is_not_asked_again_and_what_lies_otherwise_is_found(tree: Path) -> None:
    file = tree / "folder" / "file"
    inode, before = file.stat().st_ino, lies(file.stat())
    seal(tree, tree, OF, (), lambda _: None, {inode: before})
    assert Examiner().look(tree, OF) == ()
    file.write_bytes(b"changed")
    seal(tree, tree, OF, (), lambda _: hashlib.sha256(b"content").hexdigest(), {inode: before})
    for full in (False, True):
        [wrong] = Examiner().look(tree, OF, full=full)
        assert wrong.path == "folder/file"


def test_what_is_known_of_one_file_system_says_nothing_of_another(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inodes are a file system's own."""
    file, real = tree / "folder" / "file", os.fstat

    def elsewhere(handle: int) -> os.stat_result:
        found = real(handle)
        return os.stat_result((*found[:2], found.st_dev + 1, *found[3:]))

    examiner = Examiner({file.stat().st_ino: "100644 1 2 3"})
    assert "folder/file\x00100644 1 2 3" in examiner.lie(tree)
    monkeypatch.setattr(os, "fstat", elsewhere)
    assert f"folder/file\x00{lies(file.stat())}" in examiner.lie(tree)


def test_any_byte_of_a_seal_may_be_another(tree: Path) -> None:
    chance = random.Random(7)
    good = {suffix: beside(tree, suffix).read_bytes() for suffix in (".json", ".seal", ".state")}
    for _ in range(150):
        suffix = chance.choice(list(good))
        data = bytearray(good[suffix])
        data[chance.randrange(len(data))] = chance.randrange(256)
        beside(tree, suffix).write_bytes(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.3 else data)
        wrong = Examiner().look(tree, OF, ())
        assert wrong == () or all(str(w) for w in wrong)
        if suffix == ".seal" and bytes(data) != good[suffix]:
            assert "expected sha256:" in str(wrong[0])
        for name, bytes_ in good.items():
            beside(tree, name).write_bytes(bytes_)
    assert Examiner().look(tree, OF, (), full=True) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]\n",
        json.dumps({"schema": 1, "of": OF, "layers": 5}),
        json.dumps({"schema": 1, "of": OF, "layers": [5]}),
        json.dumps({"schema": 1, "of": OF, "layers": [["a", "b", "c"]]}),
        json.dumps({"schema": 2, "of": OF, "layers": []}),
        json.dumps({"schema": 1, "of": OF, "layers": []}) + "\nno line",
        json.dumps({"schema": 1, "of": OF, "layers": []}) + "\nfile\x00999999 1 2",
        json.dumps({"schema": 1, "of": OF, "layers": []}) + "\nfile\x00100644 1 -> x",
        "\udcff\n",
    ],
)
def test_a_seal_of_the_right_digest_and_no_shape(tree: Path, text: str) -> None:
    data = zlib.compress(text.encode("utf-8", "surrogateescape"))
    beside(tree, ".seal").write_bytes(data)
    listing = {"schema": 1, "of": OF, "layers": [], "seal": f"sha256:{hashlib.sha256(data).hexdigest()}"}
    beside(tree, ".json").write_text(json.dumps(listing))
    [wrong] = Examiner().look(tree, OF, (), full=True)
    assert wrong.path == "tree.seal"
    assert wrong.expected.startswith(("a seal of schema 1", "the seal of sha256:"))
    assert records(tree) == {}


def test_a_seal_with_no_entries_misses_them_all(tree: Path) -> None:
    write_seal(tree, OF, (), [], [])
    found = {d.path: d.expected for d in Examiner().look(tree, OF)}
    assert set(found) == {"/", "folder/", "folder/inner/", "folder/file", "folder/\udcff name", "link"}
    assert set(found.values()) == {"nothing"}


def test_a_tree_deeper_than_a_stack(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    depth = 0
    try:
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
            depth += 1
        assert len(Examiner().look(tree, OF)) == 1200
    finally:
        # As deep as this, neither pytest nor Python's own functions remove it.
        for _ in range(depth):
            os.chdir("..")
            os.rmdir("d")


def test_files_that_cannot_be_read_are_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_ = os.open

    def refuse(path: str, flags: int, *more: int, **named: int) -> int:
        if str(path).endswith("folder/file"):
            raise OSError(5, "Input/output error")
        return open_(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", refuse)
    [wrong] = Examiner().look(tree, OF, full=True)
    assert wrong.found == "a file with mode 0644, 7 bytes that cannot be read: Input/output error"


def added(tree: Path) -> dict[str, str]:
    """A folder with a file, a file beside others and what is said of the two."""
    (tree / "folder" / "new").mkdir()
    made = {}
    for name in ("new/one", "zwei"):
        path = tree / "folder" / name
        path.write_bytes(name.encode())
        made[lies(path.stat())] = hashlib.sha256(name.encode()).hexdigest()
    return made


def test_what_is_added_is_sealed_and_nothing_is_read_for_it(tree: Path) -> None:
    examiner = Examiner()
    assert examiner.look(tree, OF) == ()
    digest = extend(tree, OF, (), added(tree), examiner)
    listing = find_listing(tree)
    assert listing is not None
    assert listing.seal == digest
    for full in (False, True):
        assert Examiner().look(tree, OF, (), full=full) == ()
    assert digest == seal(tree, tree, OF, (), lambda _: None)


@pytest.mark.parametrize(
    "change", ["a file", "a mode", "a link", "one less", "one more", "a pipe", "its layers", "no seal"]
)
def test_nothing_is_sealed_where_anything_else_changed(tree: Path, change: str) -> None:
    """Whatever it is: it is found by the next look, and not sealed as if it had been there."""
    before = beside(tree, ".seal").read_bytes()
    made, layers = added(tree), ()
    file = tree / "folder" / "file"
    if change == "a file":
        file.write_bytes(b"CONTENT")
    elif change == "a mode":
        file.chmod(0o600)
    elif change == "a link":
        (tree / "link").unlink()
        (tree / "link").symlink_to("elsewhere")
    elif change == "one less":
        file.unlink()
    elif change == "one more":
        (tree / "folder" / "odd").write_bytes(b"x")
    elif change == "a pipe":
        os.mkfifo(tree / "folder" / "pipe")
    elif change == "no seal":
        beside(tree, ".seal").unlink()
    layered = [(OF, OF)] if change == "its layers" else layers
    assert extend(tree, OF, layered, made, Examiner()) is None
    if change != "no seal":
        assert beside(tree, ".seal").read_bytes() == before
    assert Examiner().look(tree, OF) != ()


def test_a_seal_whose_first_line_is_long_is_read_as_far_as_that(tmp_path: Path) -> None:
    """Of a tree of many layers; and one that has no end of a line is none."""
    tree = tmp_path / "tree"
    tree.mkdir()
    layers = [(f"sha256:{n:064x}", f"sha256:{n + 1:064x}") for n in range(500)]
    seal(tree, tree, OF, layers, lambda _: None)
    assert Examiner().look(tree, OF, [name for name, _ in layers]) == ()
    data = zlib.compress(b"x" * (8 << 20))
    beside(tree, ".seal").write_bytes(data)
    listing = json.loads(beside(tree, ".json").read_text())
    listing["seal"] = f"sha256:{hashlib.sha256(data).hexdigest()}"
    beside(tree, ".json").write_text(json.dumps(listing))
    [wrong] = Examiner().look(tree, OF)
    assert "expected a seal of schema 1, found none" in str(wrong)
