"""The folder of locks holds locks: what a killed writer left there goes with the next one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flyte_build.kernel.errors import StoreError
from flyte_build.kernel.scratch import PREFIX, scratch_file
from flyte_build.locks.directory import check_place, writing


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    for name in ("low.json", ".gitkeep", f".low{PREFIX}abcd", f".of another{PREFIX}abcd"):
        (tmp_path / name).write_bytes(b"x")
    with scratch_file(tmp_path, ".top") as (living, handle):
        os.close(handle)
        with writing(tmp_path):
            assert {p.name for p in tmp_path.iterdir()} == {"low.json", ".gitkeep", living.name}
    assert {p.name for p in tmp_path.iterdir()} == {"low.json", ".gitkeep"}


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with writing(tmp_path / "none"):
        pass
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_made_is_said_before_anything_is_solved(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match=r"locks: the locks cannot be written: .*/file is no folder") as e:
        check_place(tmp_path / "file" / "locks")
    assert "--lockfiles" in str(e.value.hint)
    check_place(tmp_path / "not" / "there" / "yet")
    check_place(tmp_path)
