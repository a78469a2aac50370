"""The linker's cache is read as glibc writes it, and what is added is found first."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from flyte_build.assemble.ldcache import Library, cache_bytes
from flyte_build.submit.gpus.linker import added, machine_flags, read

ROWS = [
    Library("libz.so.1", "/usr/lib/libz.so.1", 0x0303, "libz.so.1"),
    Library("libc.so.6", "/lib/libc.so.6", 3, "libc.so.6"),
]


def found(data: bytes) -> list[tuple[str, str]]:
    return [(row.name, row.path) for row in read(data)]


def test_what_was_written_is_read() -> None:
    assert found(cache_bytes(ROWS)) == [("libz.so.1", "/usr/lib/libz.so.1"), ("libc.so.6", "/lib/libc.so.6")]


def test_an_old_caches_new_half_is_read() -> None:
    old = b"ld.so-1.7.0\0" + struct.pack("<I", 1) + bytes(12)
    padded = old + bytes(-len(old) % 8)
    assert found(padded + cache_bytes(ROWS)) == found(cache_bytes(ROWS))


def test_what_is_added_is_found_before_another_of_its_name() -> None:
    new = added(cache_bytes(ROWS), [Library("libz.so.1", "/run/libz.so.1", 0x0303, "libz.so.1")])
    assert found(new) == [
        ("libz.so.1", "/run/libz.so.1"),
        ("libz.so.1", "/usr/lib/libz.so.1"),
        ("libc.so.6", "/lib/libc.so.6"),
    ]


@pytest.mark.parametrize("cut", [0, 10, 47, 60, 95, 110])
def test_a_torn_cache_has_nothing(cut: int) -> None:
    assert read(cache_bytes(ROWS)[:cut]) == []


def test_a_cache_that_counts_wrong_has_nothing() -> None:
    data = bytearray(cache_bytes(ROWS))
    data[20:24] = struct.pack("<I", 1 << 31)
    assert read(bytes(data)) == read(b"ld.so-1.7.0\0\xff\xff\xff\xff") == []


def test_this_machines_own_is_read() -> None:
    cache = Path("/etc/ld.so.cache")
    if not cache.is_file():
        pytest.skip("this machine has no linker's cache")
    rows = read(cache.read_bytes())
    assert rows
    assert {Path(row.path).name == row.name for row in rows} == {True}


def test_an_unknown_machine_has_no_flags() -> None:
    assert (machine_flags("x86_64"), machine_flags("aarch64"), machine_flags("vax")) == (0x0303, 0x0A03, 0)
