"""The core makes the bytes that Python's assembler makes, of any layer.

``FLYTE_BUILD_TEST_LAYERS=100000`` draws so many instead of a few hundred, ``FLYTE_BUILD_TEST_LAYERS_FROM`` says from
which on: a layer is drawn by its number, so a range that was done need not be done again.
"""

from __future__ import annotations

import ctypes
import gzip
import hashlib
import os
import random
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from flyte_build.assemble.blob import BlobResult
from flyte_build.assemble.blob import write_blob as purely
from flyte_build.assemble.entries import Deflated, Entry, Plain
from flyte_build.native import blob
from flyte_build.native.library import Core

from .layers import draw

LAYERS = int(os.environ.get("FLYTE_BUILD_TEST_LAYERS", "200"))
FIRST = int(os.environ.get("FLYTE_BUILD_TEST_LAYERS_FROM", "0"))


def by_python(entries: Sequence[Entry], path: Path) -> tuple[BlobResult, bytes]:
    with path.open("wb", buffering=0) as out:
        result = purely(entries, out)
    return result, path.read_bytes()


def by_core(entries: Sequence[Entry], path: Path) -> tuple[BlobResult, bytes]:
    with path.open("wb", buffering=0) as out:
        result = blob.write_blob(entries, out)
    return result, path.read_bytes()


def same(seed: str, folder: Path, most: int) -> None:
    entries = draw(random.Random(seed), folder, most)
    core, python = by_core(entries, folder / "core"), by_python(entries, folder / "python")
    assert core == python, f"layer {seed}"
    assert list(core[0].listing) == list(python[0].listing), f"the order of the listing of layer {seed}"


def test_any_layer(only_native: ctypes.CDLL, tmp_path: Path) -> None:
    for number in range(FIRST, FIRST + LAYERS):
        same(f"small {number}", tmp_path, 6000)


def test_large_contents(only_native: ctypes.CDLL, tmp_path: Path) -> None:
    """Longer than what is done in one piece: parts of streams."""
    for number in range(2, 4 + LAYERS // 1000):
        same(f"large {number}", tmp_path, 3_300_000)


def fresh_contents() -> list[bytes]:
    """Sizes around every limit of docs/deflate.md; codes that would be too long; repetitions at any distance."""
    r = random.Random("fresh")
    sizes = [0, 1, 3, 4, 4095, 4096, 4097, 32_767, 32_768, 32_769, 65_535, 65_536, 65_537, 262_143, 262_144, 262_145]
    made = [(r.randbytes(size // 3 + 1) * 3)[:size] for size in sizes]
    counts = [1, 1]
    while len(counts) < 25:
        counts.append(counts[-1] + counts[-2])
    skewed = bytearray(b"".join(bytes([symbol]) * count for symbol, count in enumerate(counts)))
    r.shuffle(skewed)
    words = [r.randbytes(r.randrange(3, 40)) for _ in range(3000)]
    return [*made, bytes(skewed), b"".join(r.choices(words, k=20_000)), b"".join(words[:2000] * 2), bytes(600_000)]


@pytest.mark.slow
def test_what_is_encoded(only_native: ctypes.CDLL, tmp_path: Path) -> None:
    """One after the other in shared groups, at hand and in a file."""
    path, offset, entries = tmp_path / "file", 0, list[Entry]()
    path.write_bytes(b"".join(fresh_contents()))
    for number, data in enumerate(fresh_contents()):
        entries.append(Entry(f"a{number:02}", "file", 0o644, (data,)))
        entries.append(Entry(f"b{number:02}", "file", 0o644, (Plain(str(path), offset, len(data)),)))
        offset += len(data)
    for ordered in (entries, sorted(entries, key=lambda entry: entry.path)):
        assert by_core(ordered, tmp_path / "core") == (python := by_python(ordered, tmp_path / "python"))
        assert hashlib.sha256(gzip.decompress(python[1])).hexdigest() == python[0].diff_id.removeprefix("sha256:")


def test_streams_that_end_at_any_bit(only_native: ctypes.CDLL, tmp_path: Path) -> None:
    """Whether they share a member depends on the bits that their last byte has left: all there can be."""
    raws, path, offset, entries = [], tmp_path / "file", 0, list[Entry]()
    for nines in range(8):
        data = bytes(range(200, 200 + nines))
        bits = "110" + "".join(f"{0x190 + byte - 144:09b}" for byte in data) + "0000000"
        for rest in range(1 << -len(bits) % 8):
            whole = bits + f"{rest:0{-len(bits) % 8}b}"[::-1] if len(bits) % 8 else bits
            raws.append((bytes(int(whole[at : at + 8][::-1], 2) for at in range(0, len(whole), 8)), data))
    path.write_bytes(b"".join(raw for raw, _ in raws))
    for number, (raw, data) in enumerate(raws):
        segment = Deflated(str(path), offset, len(raw), len(data), zlib.crc32(data))
        entries.append(Entry(f"f{number:03}", "file", 0o644, (segment,)))
        offset += len(raw)
    made = by_core(entries, tmp_path / "core")
    assert made == by_python(entries, tmp_path / "python")
    assert hashlib.sha256(gzip.decompress(made[1])).hexdigest() == made[0].diff_id.removeprefix("sha256:")
    lone = (made[1].count(b"\x1f\x8b\x08\0\0\0\0\0\0\xff") - 1) // 2
    # Seven bits are left down to three: 16, 8, 4, 2 and 1 of them are joined; then one each, where all are zeros.
    assert (len(raws), len(raws) - lone) == (255, 34)


@pytest.mark.slow
def test_any_layer_with_small_limits(
    small: Core, only_native: ctypes.CDLL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob, "core", lambda: small)
    for number in range(max(1000, LAYERS)):
        same(f"limits {number}", tmp_path, random.Random(number).choice((200, 6000, 100_000)))


def test_many_files(only_native: ctypes.CDLL, tmp_path: Path) -> None:
    """More than are kept open at once."""
    entries = []
    for number in range(300):
        (tmp_path / f"f{number:03}").write_bytes(b"%d" % number)
        entries.append(Entry(f"f{number:03}", "file", 0o644, (Plain(str(tmp_path / f"f{number:03}"), 0, 1),)))
    assert by_core(entries, tmp_path / "core") == by_python(entries, tmp_path / "python")


def test_it_continues_where_the_file_is(only_native: ctypes.CDLL, tmp_path: Path) -> None:
    """Bytes before stay, bytes after follow; a buffered file is as good as another."""
    entries = [Entry("d", "dir", 0o755), Entry("d/f", "file", 0o644, (b"x" * 100,))]
    with (tmp_path / "f").open("wb") as out:
        out.write(b"before")
        size = blob.write_blob(entries, out).size
        out.write(b"after")
    assert (tmp_path / "f").read_bytes() == b"before" + by_python(entries, tmp_path / "python")[1] + b"after"
    assert (tmp_path / "f").stat().st_size == size + 11


def test_progress_adds_up_and_stops_it(only_native: ctypes.CDLL, tmp_path: Path) -> None:
    entries = draw(random.Random("progress"), tmp_path, 300_000)
    entries += [Entry(f"zz{i}", "file", 0o644, (bytes(300_000),)) for i in range(9)]
    told: list[int] = []
    with (tmp_path / "out").open("wb") as out:
        assert blob.write_blob(entries, out, progress=told.append).diff_size == sum(told)
        assert len(told) >= 2

        def stop(_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            blob.write_blob(entries, out, progress=stop)
