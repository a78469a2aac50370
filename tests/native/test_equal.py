"""The core makes the bytes that Python's assembler makes, of any layer.

``FLYTE_BUILD_TEST_LAYERS=100000`` draws so many instead of a few hundred.
"""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from flyte_build.assemble.blob import BlobResult
from flyte_build.assemble.blob import write_blob as purely
from flyte_build.assemble.entries import Entry, Plain
from flyte_build.native import blob
from flyte_build.native.library import Core

from .layers import draw

LAYERS = int(os.environ.get("FLYTE_BUILD_TEST_LAYERS", "200"))


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
    for number in range(LAYERS):
        same(f"small {number}", tmp_path, 6000)


def test_large_contents(only_native: ctypes.CDLL, tmp_path: Path) -> None:
    """Longer than what is done in one piece: parts of streams."""
    for number in range(2, 4 + LAYERS // 1000):
        same(f"large {number}", tmp_path, 3_300_000)


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
    entries = draw(random.Random("progress"), tmp_path, 2_000_000)
    entries += [Entry(f"zz{i}", "file", 0o644, (bytes(300_000),)) for i in range(9)]
    told: list[int] = []
    with (tmp_path / "out").open("wb") as out:
        assert blob.write_blob(entries, out, progress=told.append).diff_size == sum(told)
        assert len(told) >= 2

        def stop(_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            blob.write_blob(entries, out, progress=stop)
