"""Temporary folders and files: what a killed process left goes, what a living one has stays."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flyte_build.kernel.scratch import PREFIX, scratch, scratch_file, sweep

_HOLDER = """
import sys, time
from pathlib import Path
from flyte_build.kernel.scratch import scratch, scratch_file
with scratch(Path(sys.argv[1])) as folder, scratch_file(Path(sys.argv[1]), ".out.tar") as (file, handle):
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_text("x")
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    theirs = sorted(tmp_path.iterdir())
    assert len(theirs) == 2
    with scratch(tmp_path) as mine, scratch_file(tmp_path, ".out.tar") as (file, handle):
        os.close(handle)
        assert sorted(tmp_path.iterdir()) == sorted([*theirs, mine, file])
        holder.kill()
        holder.communicate()
        assert sweep(tmp_path) == 1
        assert sweep(tmp_path, ".out.tar") == 1
        assert sorted(tmp_path.iterdir()) == sorted([mine, file])
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_anybody_else_is_touched(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").touch()
    others = [tmp_path / name for name in ("flyte-build-x", ".flyte-build-notes", f"x{PREFIX}abc", ".out.tar.original")]
    for path in others:
        path.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / f"{PREFIX}pipe")
    before = {*tmp_path.iterdir()} - {tmp_path / f"{PREFIX}pipe"}
    sweep(tmp_path)
    assert {*tmp_path.iterdir()} - {tmp_path / f"{PREFIX}pipe"} == before
    assert (tmp_path / "target" / "file").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_stays(tmp_path: Path) -> None:
    theirs = tmp_path / f"{PREFIX}theirs"
    theirs.mkdir()
    os.chown(theirs, 1000, 1000)
    assert sweep(tmp_path) == 0
    assert theirs.is_dir()


def test_one_that_is_swept_between_its_making_and_its_lock_is_made_again(tmp_path: Path) -> None:
    stop, lost = threading.Event(), []

    def sweeping() -> None:
        while not stop.is_set():
            sweep(tmp_path)

    thread = threading.Thread(target=sweeping)
    thread.start()
    try:
        for _ in range(300):
            with scratch(tmp_path) as folder:
                try:
                    (folder / "file").write_text("x")
                except FileNotFoundError as e:
                    lost.append(e)
    finally:
        stop.set()
        thread.join()
    assert lost == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_already_is_no_error(tmp_path: Path) -> None:
    with scratch(tmp_path) as folder:
        folder.rename(tmp_path / "kept")
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    assert sweep(tmp_path / "none") == 0
