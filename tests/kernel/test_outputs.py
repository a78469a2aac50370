"""What a person asked to have written: whole or as it was, and words about that place where the machine refuses."""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flyte_build.kernel.errors import StoreError
from flyte_build.kernel.outputs import check_place, output, refusal_in, write_output, writing


def test_it_is_written_with_its_folders(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_output(tmp_path / "deep" / "er" / "a.txt", "schön")
    finally:
        os.umask(before)
    found = tmp_path / "deep" / "er" / "a.txt"
    assert found.read_bytes() == "schön".encode()
    assert stat.S_IMODE(found.stat().st_mode) == 0o640
    assert [p.name for p in found.parent.iterdir()] == ["a.txt"]


def test_what_fails_midway_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("before")

    def half() -> None:
        with output(tmp_path / "a.txt") as out:
            out.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.txt": "before"}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/a.txt")
    write_output(tmp_path / "link", "x")
    assert os.readlink(tmp_path / "link") == "there/a.txt"
    assert (tmp_path / "there" / "a.txt").read_text() == "x"


def test_what_is_no_file_is_written_and_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_output(tmp_path / "pipe", "x")
        assert os.read(reader, 10) == b"x"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc here")
def test_a_descriptor_by_its_name(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    write_output(Path(f"/proc/self/fd/{writer}"), "x")
    os.close(writer)
    assert os.read(reader, 10) == b"x"
    os.close(reader)


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file may become longer: as a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("before")
    with limited(1000), pytest.raises(StoreError, match=r"a\.txt: no space left: .* free, 5\.0 kB needed") as e:
        write_output(tmp_path / "a.txt", bytes(5000))
    assert e.value.hint == "free some space there, or name a place on another disk"
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.txt": "before"}


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file" / "a.txt", tmp_path / "file" / "deep" / "a.txt"):
        for write in (lambda place: write_output(place, "x"), check_place):
            with pytest.raises(StoreError) as e:
                write(place)
            assert e.value.message == f"{place}: cannot be written: {tmp_path / 'file'} is no folder"
            assert e.value.hint == "name a place that you may write to"
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc here")
def test_a_file_system_that_takes_nothing_new() -> None:
    with pytest.raises(StoreError) as e:
        write_output(Path("/proc/flyte-build/a.txt"), "x")
    assert e.value.message == "/proc/flyte-build/a.txt: cannot be written: nothing can be made in /proc"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"x: cannot be written: there is no folder {tmp_path / 'no'}"):
        with writing(tmp_path / "x"):
            open(tmp_path / "no" / "a.txt", "wb").close()


def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o555)
    euid = os.geteuid()
    if euid == 0:
        os.seteuid(54321)  # root may write anywhere
    try:
        for write in (lambda place: write_output(place, "x"), check_place):
            with pytest.raises(StoreError, match=r"a\.txt: cannot be written: Permission denied"):
                write(mine / "a.txt")
    finally:
        os.seteuid(euid)
    check_place(tmp_path / "not" / "there" / "yet")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("error: failed to write: No space left on device (os error 28)", errno.ENOSPC),
        ("OSError: [Errno 13] Permission denied: '/x'", errno.EACCES),
        ("error: no such wheel", None),
        ("No such file or directory (os error 2)", None),
    ],
)
def test_what_another_program_was_refused(words: str, code: int | None) -> None:
    if code is None:
        refusal_in(words)
        return
    with pytest.raises(OSError, match=os.strerror(code)) as e:
        refusal_in(words)
    assert e.value.errno == code
