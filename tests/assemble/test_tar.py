"""The tar normal form, read back by ``tarfile``."""

from __future__ import annotations

import io
import tarfile
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.assemble.entries import Entry, Plain
from flyte_build.assemble.tar import BLOCK, END, header, padding


def read(entry: Entry, content: bytes = b"") -> tarfile.TarInfo:
    raw = b"".join(header(entry))
    assert len(raw) % BLOCK == 0
    with tarfile.open(fileobj=io.BytesIO(raw + content + padding(len(content)) + END)) as t:
        (member,) = t.getmembers()
        return member


names = st.lists(st.text("abcdé日", min_size=1, max_size=60), min_size=1, max_size=8).map("/".join)


@given(names, st.integers(0, 0o7777), st.integers(0, 1 << 30))
def test_names_modes_and_owners_come_back(path: str, mode: int, uid: int) -> None:
    found = read(Entry(path, "file", mode, (b"abc",), uid=uid, gid=uid), b"abc")
    assert (found.name, found.mode, found.uid, found.gid, found.size) == (path, mode, uid, uid, 3)
    assert found.mtime == 315532800
    assert time.gmtime(found.mtime)[:6] == (1980, 1, 1, 0, 0, 0)
    assert (found.uname, found.gname) == ("", "")


@given(names, names)
def test_links_come_back(path: str, target: str) -> None:
    symlink = read(Entry(path, "symlink", 0o777, link=target))
    assert (symlink.name, symlink.linkname, symlink.type) == (path, target, tarfile.SYMTYPE)
    hard = read(Entry(path, "hardlink", 0o644, link=target))
    assert (hard.name, hard.linkname, hard.type) == (path, target, tarfile.LNKTYPE)


@given(names)
def test_folders_come_back(path: str) -> None:
    assert read(Entry(path, "dir", 0o1777)).isdir()
    assert b"".join(header(Entry("d", "dir", 0o755))).startswith(b"d/\0")


@pytest.mark.parametrize(
    ("path", "blocks"),
    [
        ("a" * 100, 1),
        ("a" * 101, 3),
        ("p" * 155 + "/" + "n" * 100, 1),
        ("p" * 156 + "/" + "n" * 100, 3),
        ("é", 3),
    ],
)
def test_pax_records_only_where_ustar_cannot_say_it(path: str, blocks: int) -> None:
    assert len(b"".join(header(Entry(path, "file", 0o644)))) == blocks * BLOCK
    assert read(Entry(path, "file", 0o644)).name == path


def test_a_size_beyond_8_gib_is_a_pax_record() -> None:
    size = (8 << 30) + 5
    raw = b"".join(header(Entry("big", "file", 0o644, (Plain("/nowhere", 0, size),))))
    assert b"size=8589934597\n" in raw
    assert tarfile.TarInfo.frombuf(raw[1024:1536], "utf-8", "strict").size == 0
    exact = b"".join(header(Entry("big", "file", 0o644, (Plain("/nowhere", 0, (8 << 30) - 1),))))
    assert len(exact) == BLOCK


def test_the_header_is_these_bytes() -> None:
    raw = b"".join(header(Entry("a/b", "file", 0o755, (b"xyz",), uid=1000, gid=1000)))
    assert raw[:4] == b"a/b\0"
    assert raw[100:157] == b"0000755\x000001750\x000001750\x0000000000003\x0002263523000\x00007646\x00 0"
    assert raw[257:265] == b"ustar\x0000"
    assert len(raw) == BLOCK
