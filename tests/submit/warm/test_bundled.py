"""A fork unpacks its code as `tar` does for the runtime, or leaves it to that."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flyte_build.submit.warm import bundled

Entry = tuple[str, int, bytes | None]
CODE: tuple[Entry, ...] = (
    ("main.py", 0o644, b"import pkg.deep\n"),
    ("pkg/deep/__init__.py", 0o664, b""),
    ("run.sh", 0o777, b"#!/bin/sh\n"),
    ("own", 0o700, None),
    ("own/secret.txt", 0o600, b"x" * 5000),
    ("naïve 数据.csv", 0o444, b"1,2\n"),
)


@pytest.fixture(autouse=True)
def a_user(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a sandbox."""
    monkeypatch.setattr(bundled.os, "geteuid", lambda: 1000)
    before = os.umask(0o022)
    yield
    os.umask(before)


def archive(folder: Path, entries: tuple[Entry, ...] = CODE, mode: str = "w:gz") -> Path:
    path = folder / "fast0123.tar.gz"
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for number, (name, bits, data) in enumerate(entries):
            info = tarfile.TarInfo(name)
            info.mode, info.mtime, info.size = bits, 1_700_000_000 + number, len(data or b"")
            info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            tar.addfile(info, io.BytesIO(data or b""))
    return path


def unpack(source: Path, dest: Path) -> bool:
    return bundled.unpack(["a0", "--tgz", str(source), "--dest", str(dest), "--resolver", "x", "mod", "main"])


def tree(folder: Path) -> dict[str, tuple[int, int | None, bytes | None]]:
    """Mode, time and bytes; the times of folders that the archive has not are those of now."""
    found = {}
    for path in sorted(folder.rglob("*")):
        told, name = path.lstat(), path.relative_to(folder).as_posix()
        listed = {entry[0]: entry for entry in CODE}
        data = path.read_bytes() if path.is_file() else None
        found[name] = (told.st_mode, int(told.st_mtime) if name in listed else None, data)
    return found


def test_what_is_there_is_what_tar_leaves(tmp_path: Path) -> None:
    source = archive(tmp_path)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
    command = ["tar", "--overwrite", "--no-same-permissions", "-xvf", str(source), "-C", str(theirs)]
    subprocess.run(command, check=True, capture_output=True)
    assert unpack(source, ours)
    marks = {source.name: source.read_bytes(), f".{source.name}.lock": b"", f".{source.name}.extracted": b""}
    found = tree(ours)
    assert {name: found.pop(name)[2] for name in marks} == marks
    assert found == tree(theirs)


def _link(folder: Path) -> Path:
    path = archive(folder)
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("out")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(info)
    return path


def _large(folder: Path) -> Path:
    return archive(folder, (("x", 0o644, os.urandom(bundled.LARGEST + 1)),))


def _torn(folder: Path) -> Path:
    path = archive(folder)
    path.write_bytes(path.read_bytes()[:-40])
    return path


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(lambda f: archive(f, (("../x", 0o644, b""),)), id="up"),
        pytest.param(lambda f: archive(f, (("/x", 0o644, b""),)), id="absolute"),
        pytest.param(lambda f: archive(f, (("a", 0o644, b"1"), ("a", 0o644, b"2"))), id="twice"),
        pytest.param(lambda f: archive(f, ((".fast0123.tar.gz.lock", 0o644, b"1"),)), id="a mark"),
        pytest.param(lambda f: archive(f, mode="w:xz"), id="no gzip"),
        pytest.param(lambda f: archive(f, (("x", 0o644, bytes(bundled.MOST + 1)),)), id="larger inside"),
        pytest.param(lambda f: f / "missing.tgz", id="missing"),
        pytest.param(_link, id="a link"),
        pytest.param(_large, id="large"),
        pytest.param(_torn, id="torn"),
    ],
)
def test_what_is_not_plain_is_left_to_the_runtime(tmp_path: Path, source: Callable[[Path], Path]) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    assert not unpack(source(tmp_path), dest)
    assert list(dest.iterdir()) == []


@pytest.mark.parametrize("there", ["main.py", "pkg"])
def test_what_the_image_has_there_is_not_touched(tmp_path: Path, there: str) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    (dest / there).symlink_to("/etc")
    assert not unpack(archive(tmp_path), dest)
    assert [p.name for p in dest.iterdir()] == [there]


def test_a_disk_that_fills_up_leaves_no_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundled.shutil, "copyfile", full)
    source, dest = archive(tmp_path), tmp_path / "dest"
    dest.mkdir()
    assert not unpack(source, dest)
    assert not [p for p in dest.iterdir() if source.name in p.name]


@pytest.mark.parametrize("argv", [["a0"], ["a0", "--tgz", "s3://b/x.tgz", "--dest", "."], ["a0", "--tgz", "/x.tgz"]])
def test_a_command_without_an_archive_here(argv: list[str]) -> None:
    assert not bundled.unpack(argv)


def test_a_root_user_is_left_to_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled.os, "geteuid", lambda: 0)
    assert not unpack(archive(tmp_path), tmp_path)
