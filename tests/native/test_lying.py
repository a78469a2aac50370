"""The core tells how a tree lies as Python does, to the byte, or leaves it to Python."""

from __future__ import annotations

import ctypes
import os
import random
from pathlib import Path

import pytest

from flyte_build.native.lying import lie
from flyte_build.store.seal_files import as_bytes
from flyte_build.store.sealed import Examiner, seal

NAMES = (
    "a",
    "b.py",
    "B",
    "Z",
    "_",
    "a.",
    "a-b",
    "a b",
    "~",
    "\x01",
    "\x7f",
    "é",
    "\ud7ff",
    "\ue000",
    "日本",
    "\U0001f40d",
)
# No UTF-8, an overlong form, half of a pair, beyond the last one, and a name of two lines.
UNUSUAL = (b"\xff", b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3", b"one\ntwo")


def grow(folder: Path, chance: random.Random, deep: int = 0) -> None:
    """Files, links, pipes and folders in ``folder``, of every mode and date."""
    for name in chance.sample(NAMES, chance.randrange(len(NAMES))):
        path = folder / name
        kind = chance.randrange(6 if deep < 4 else 5)
        if kind == 5:
            path.mkdir()
            grow(path, chance, deep + 1)
            path.chmod(chance.choice([0o700, 0o755, 0o1777, 0o750]))
        elif kind == 4:
            path.symlink_to(chance.choice(["/", "nowhere", "."]))
        elif kind == 3:
            os.mkfifo(path)
        else:
            path.write_bytes(b"x" * chance.randrange(3000))
            path.chmod(chance.choice([0o644, 0o444, 0o755, 0o4755, 0o600]))
            when = chance.choice([0, 1, 10**9, 10**18 + 7, -(10**9) - 1, 1 << 33])
            os.utime(path, ns=(when, when))


@pytest.mark.parametrize("seed", range(12))
def test_it_is_the_same_text(tmp_path: Path, native: ctypes.CDLL, seed: int) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    grow(tree, random.Random(seed))
    text = lie(tree)
    assert text is not None
    assert text == as_bytes(Examiner().lie(tree))
    assert Examiner(lister=lie).lie(tree) == Examiner().lie(tree)


def test_many_names_in_one_folder_and_deep_ones(tmp_path: Path, native: ctypes.CDLL) -> None:
    """More than one system call gives, and a path that is longer than one may be."""
    wide = tmp_path / "wide"
    wide.mkdir()
    for number in range(3000):
        (wide / f"{number:x}-{'n' * (number % 200)}").touch()
    assert lie(tmp_path) == as_bytes(Examiner().lie(tmp_path))
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert lie(tmp_path) is None
    with pytest.raises(OSError, match="File name too long"):
        Examiner(lister=lie).lie(tmp_path)


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_names_are_left_to_python(tmp_path: Path, native: ctypes.CDLL, name: bytes) -> None:
    (tmp_path / "one").touch()
    with open(os.path.join(os.fsencode(tmp_path), name), "wb"):
        pass
    assert lie(tmp_path) is None
    assert Examiner(lister=lie).lie(tmp_path) == Examiner().lie(tmp_path)


def test_no_folder_is_no_tree(tmp_path: Path, native: ctypes.CDLL) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link", "nothing"):
        with pytest.raises(OSError, match=r"Not a directory|No such file|symbolic link"):
            lie(tmp_path / name)


def test_without_the_core_it_is_pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_BUILD_CORE", "pure")
    assert lie(tmp_path) is None


def test_a_look_by_the_core_finds_what_pythons_finds(tmp_path: Path, native: ctypes.CDLL) -> None:
    tree = tmp_path / "tree"
    (tree / "in").mkdir(parents=True)
    (tree / "in" / "one").write_bytes(b"1")
    (tree / "two").write_bytes(b"2")
    seal(tree, tree, "it", (), lambda _: None)
    assert Examiner(lister=lie).look(tree, "it") == ()
    (tree / "two").write_bytes(b"3")
    (tree / "in" / "three").symlink_to("two")
    by_core, by_python = Examiner(lister=lie).look(tree, "it"), Examiner().look(tree, "it")
    assert by_core == by_python
    assert [difference.path for difference in by_core] == ["in/three", "two"]
