"""What tasks leave is removed, whatever it is, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flyte_build.submit import removal
from flyte_build.submit.removal import remove_left
from tests.support.descriptors import open_below


def test_everything_goes_and_nothing_is_followed(tmp_path: Path) -> None:
    elsewhere, left = tmp_path / "elsewhere", tmp_path / "left"
    (elsewhere / "folder").mkdir(parents=True)
    (elsewhere / "file").write_text("mine")
    (left / "locked/inner").mkdir(parents=True)
    (left / "locked/inner/file").touch()
    (left / "locked/inner").chmod(0)
    (left / "locked").chmod(0o500)
    (left / "folder").symlink_to(elsewhere / "folder")
    (left / "file").symlink_to(elsewhere / "file")
    os.link(elsewhere / "file", left / "hard")
    os.mkfifo(left / "pipe")
    mode = (elsewhere / "folder").stat().st_mode
    assert remove_left(left) is None
    assert not left.exists()
    assert sorted(os.listdir(elsewhere)) == ["file", "folder"]
    assert (elsewhere / "folder").stat().st_mode == mode
    assert remove_left(left) is None, "what is gone is gone"


def test_folders_in_each_other_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "_DEEP", 3)
    held = []
    opened = removal._writable

    @contextmanager
    def counted(at: int, name: str) -> Iterator[int]:
        with opened(at, name) as inner:
            held.append(open_below(tmp_path))
            yield inner

    monkeypatch.setattr(removal, "_writable", counted)
    (tmp_path / "left").mkdir()
    current = os.open(tmp_path / "left", os.O_RDONLY)
    for _ in range(50):
        os.mkdir("d", dir_fd=current)
        following = os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = following
    os.mkdir("last", 0o500, dir_fd=current)
    os.close(current)
    assert remove_left(tmp_path / "left") is None
    assert os.listdir(tmp_path) == []
    assert len(held) > 50
    assert max(held) - min(held) <= 3, "as many are open as there are levels in one go"
    assert open_below(tmp_path) == 0


def test_what_cannot_be_removed_is_told_and_the_rest_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "left/folder").mkdir(parents=True)
    for name in ("a", "folder/b", "z"):
        (tmp_path / "left" / name).touch()
    unlink = os.unlink

    def refuse(name: str, *, dir_fd: int) -> None:
        if name == "b":
            raise PermissionError(1, "not permitted", name)
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refuse)
    assert isinstance(remove_left(tmp_path / "left"), PermissionError)
    monkeypatch.undo()
    assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*"))] == [
        "left",
        "left/folder",
        "left/folder/b",
    ]
