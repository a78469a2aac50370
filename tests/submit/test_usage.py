"""What lies in a folder is counted as it lies on the disk, wherever its links lead."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from flyte_build.submit.removal import remove_left
from flyte_build.submit.usage import DEEP, NOTHING, Place, Usage, descendants, measure, unlinked
from tests.support.descriptors import open_below

BLOCK = 4096


def of(*folders: Path, **options: object) -> Usage:
    return measure([Place(f, "", f"/{f.name}") for f in folders], **options)  # type: ignore[arg-type]


def on_disk(path: Path) -> int:
    return path.lstat().st_blocks * 512


def test_bytes_and_files_of_several_folders(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    (one / "a/b").mkdir(parents=True)
    two.mkdir()
    (one / "a/b/large").write_bytes(os.urandom(20 * BLOCK))
    for number in range(9):
        (two / str(number)).touch()
    found = of(one, two)
    assert found.files == 3 + 9
    assert found.size == sum(on_disk(p) for p in (one / "a", one / "a/b", one / "a/b/large"))
    assert (found.most, found.many, found.deep) == ("/one", "/two", False)
    assert of(tmp_path / "absent") == NOTHING


def test_a_file_with_two_names_counts_once_and_a_hole_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(8 * BLOCK))
    once = of(tmp_path)
    os.link(tmp_path / "file", tmp_path / "again")
    assert of(tmp_path) == once
    with open(tmp_path / "sparse", "wb") as f:
        f.truncate(1 << 40)
    assert of(tmp_path).size == once.size + on_disk(tmp_path / "sparse") < 1 << 20


def test_no_link_is_followed(tmp_path: Path) -> None:
    elsewhere, counted = tmp_path / "elsewhere", tmp_path / "counted"
    elsewhere.mkdir()
    counted.mkdir()
    (elsewhere / "large").write_bytes(os.urandom(50 * BLOCK))
    (counted / "folder").symlink_to(elsewhere)
    (counted / "file").symlink_to(elsewhere / "large")
    (counted / "loop").symlink_to(".")
    os.mkfifo(counted / "pipe")
    found = of(counted)
    assert found.files == 4
    assert found.size < 10 * BLOCK
    # A folder that is asked for, and where a task put a link meanwhile, is not followed either.
    assert measure([Place(counted, "folder", "/x")]) == NOTHING


def test_a_folder_that_its_owner_may_not_read_hides_nothing() -> None:
    """Root may read anything, so somebody else looks."""
    top = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        for mode in (0o000, 0o300, 0o400, 0o600):
            (top / f"{mode:o}/inner").mkdir(parents=True)
            for path in (top / f"{mode:o}/file", top / f"{mode:o}/inner/file"):
                path.write_bytes(os.urandom(4 * BLOCK))
            for path in (top / f"{mode:o}/inner", top / f"{mode:o}"):
                path.chmod(mode)
        if os.geteuid() == 0:
            for path in [top, *top.rglob("*")]:
                os.chown(path, 65534, 65534)
        top.chmod(0)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                if os.geteuid() == 0:
                    os.setresgid(65534, 65534, 65534)
                    os.setresuid(65534, 65534, 65534)
                found = of(top)
                os.write(writing, f"{found.files} {found.size >= 32 * BLOCK}".encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as f:
            assert f.read() == "16 True"
        os.waitpid(child, 0)
    finally:
        remove_left(top)


def test_what_is_left_out_and_what_is_enough(tmp_path: Path) -> None:
    for action in ("a0", "b1"):
        (tmp_path / action / "1").mkdir(parents=True)
        for number in range(10):
            (tmp_path / action / "1" / str(number)).touch()
    assert of(tmp_path).files == 2 + 2 + 20
    assert of(tmp_path, skip=frozenset({"a0/1"})).files == 2 + 1 + 10
    assert of(tmp_path, enough=Usage(1 << 40, 5)).files == 6
    assert of(tmp_path, tmp_path, enough=Usage(1 << 40, 5)).files == 6


def test_folders_without_end_are_told(tmp_path: Path) -> None:
    current = os.open(tmp_path, os.O_RDONLY)
    for _ in range(DEEP + 50):
        os.mkdir("d", dir_fd=current)
        following = os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = following
    os.close(current)
    found = of(tmp_path)
    assert (found.deep, found.files) == (True, DEEP)
    assert open_below(tmp_path) == 0


def test_files_without_a_name_are_found_with_who_holds_them(tmp_path: Path) -> None:
    code = """
import os, subprocess, sys
if len(sys.argv) > 2:
    with open(sys.argv[1], "wb") as f:
        f.write(bytes(range(256)) * 256)
        f.flush()
        os.unlink(sys.argv[1])
        print("held", flush=True)
        sys.stdin.read()
else:
    subprocess.run([sys.executable, *sys.orig_argv[1:], "child"])
"""
    command = [sys.executable, "-c", code, str(tmp_path / "file")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"held\n"
        pids = descendants(parent.pid)
        assert pids[0] == parent.pid
        assert len(pids) == 2
        assert of(tmp_path) == NOTHING
        assert unlinked(pids, tmp_path.stat().st_dev) >= 1 << 16
        assert unlinked(pids, -1) == 0
        assert unlinked([parent.pid, 999_999_999], tmp_path.stat().st_dev) == 0
        parent.communicate(b"")
    assert descendants(999_999_999) == [999_999_999]
