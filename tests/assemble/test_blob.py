"""Entries → blob and diff_id: the same for every inflater, and nothing corrupt gets through."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import random
import resource
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path
from types import ModuleType

import pytest
from isal import isal_zlib

from flyte_build.assemble import inflating
from flyte_build.assemble import streams as streams_module
from flyte_build.assemble.blob import BlobResult, write_blob
from flyte_build.assemble.entries import Content, Deflated, Entry, Plain
from flyte_build.assemble.errors import AssembleError
from tests.support.wheels import deflate_with_zlib

INFLATERS = [zlib, isal_zlib]


def made(entries: list[Entry], inflate: ModuleType = zlib) -> tuple[BlobResult, bytes]:
    out = io.BytesIO()
    result = write_blob(entries, out, inflate=inflate)  # type: ignore[arg-type]
    return result, out.getvalue()


def lying(folder: Path, data: bytes) -> Deflated:
    """``data`` deflated in a file, with other bytes around it."""
    path = folder / hashlib.sha256(data).hexdigest()
    raw = deflate_with_zlib(data)
    path.write_bytes(b"before" + raw + b"after")
    return Deflated(str(path), 6, len(raw), len(data), zlib.crc32(data))


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size // 2) + bytes(size - size // 2)


@pytest.mark.parametrize("inflate", INFLATERS, ids=["zlib", "isal"])
def test_digests_are_those_of_the_streams(tmp_path: Path, inflate: ModuleType) -> None:
    contents = {f"f{i}": noise(size, i) for i, size in enumerate([0, 1, 511, 512, 513, 70_000, 3_000_000])}
    entries = [Entry(name, "file", 0o644, (lying(tmp_path, data),)) for name, data in contents.items()]
    result, blob = made(entries, inflate)
    tar = gzip.decompress(blob)
    assert result.digest == "sha256:" + hashlib.sha256(blob).hexdigest()
    assert result.size == len(blob)
    assert result.diff_id == "sha256:" + hashlib.sha256(tar).hexdigest()
    assert result.diff_size == len(tar)
    with tarfile.open(fileobj=io.BytesIO(tar)) as t:
        assert {m.name: t.extractfile(m).read() for m in t} == contents  # type: ignore[union-attr]
    assert result.listing["f3"] == f"f 0644 512 {zlib.crc32(contents['f3']):08x}"


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 2047, 2048, 2049, 4096, 5000])
@pytest.mark.parametrize("inflate", INFLATERS, ids=["zlib", "isal"])
@pytest.mark.parametrize("data", ["zeros", "noise"])
def test_long_streams_at_every_border(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, inflate: ModuleType, data: str
) -> None:
    """Output that ends with a full buffer, input that is used up before its output is: the borders of streaming."""
    content = bytes(size) if data == "zeros" else noise(size)
    entry = Entry("f", "file", 0o644, (lying(tmp_path, content),))
    whole = made([entry])
    monkeypatch.setattr(inflating, "WHOLE", 1024)
    monkeypatch.setattr(inflating, "CHUNK", 7)
    monkeypatch.setattr(streams_module, "_FIRST", 100)
    monkeypatch.setattr(streams_module, "_BATCH", 300)
    assert made([entry], inflate) == whole


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 4 * 65535, 4 * 65535 + 1, 600_000])
def test_plain_content_is_stored(tmp_path: Path, size: int) -> None:
    data = noise(size)
    (tmp_path / "f").write_bytes(b"xx" + data)
    result, blob = made([Entry("f", "file", 0o644, (Plain(str(tmp_path / "f"), 2, size),))])
    assert gzip.decompress(blob)[512 : 512 + size] == data
    assert result.listing == {"f": f"f 0644 {size} {zlib.crc32(data):08x}"}


def test_segments_are_one_content(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"plain")
    content: Content = (lying(tmp_path, b"first\n" * 10), b"fresh", Plain(str(tmp_path / "p"), 0, 5))
    whole = b"first\n" * 10 + b"freshplain"
    result, blob = made([Entry("f", "file", 0o600, content), Entry("g", "file", 0o644, (b"next",))])
    assert gzip.decompress(blob)[512 : 512 + len(whole)] == whole
    assert result.listing["f"] == f"f 0600 {len(whole)} {zlib.crc32(whole):08x}"


def test_identities(tmp_path: Path) -> None:
    result, _ = made(
        [
            Entry("d", "dir", 0o1777),
            Entry("d/f", "file", 0o4755, (b"x",), uid=1000, gid=1001),
            Entry("d/h", "hardlink", 0o644, link="d/f"),
            Entry("d/l", "symlink", 0o777, link="../x"),
        ]
    )
    crc = f"{zlib.crc32(b'x'):08x}"
    assert result.listing == {"d": "d 1777", "d/f": f"f 4755 1 {crc} 1000:1001", "d/h": "h d/f", "d/l": "l ../x"}


def broken(s: Deflated, what: str) -> Deflated:
    change = {
        "crc": Deflated(s.path, s.offset, s.csize, s.size, s.crc32 ^ 1),
        "too short": Deflated(s.path, s.offset, s.csize, s.size + 1, s.crc32),
        "too long": Deflated(s.path, s.offset, s.csize, s.size - 1, s.crc32),
        "cut off": Deflated(s.path, s.offset, s.csize - 1, s.size, s.crc32),
        "more follows": Deflated(s.path, s.offset, s.csize + 1, s.size, s.crc32),
        "elsewhere": Deflated(s.path, s.offset + 1, s.csize, s.size, s.crc32),
        "file ends": Deflated(s.path, s.offset + 1000_000_000, s.csize, s.size, s.crc32),
    }
    return change[what]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("crc", r"expected CRC-32 \w{8}, found \w{8}"),
        ("too short", r"expected \d+ bytes, found \d+"),
        ("too long", "its DEFLATE stream holds more"),
        ("cut off", "is cut off after"),
        ("more follows", "ends before its compressed size"),
        ("elsewhere", "stream|CRC-32|bytes|[Ee]rror"),
        ("file ends", "the file ends at byte"),
    ],
)
@pytest.mark.parametrize("size", [1000, 3_000_000])
@pytest.mark.parametrize("inflate", INFLATERS, ids=["zlib", "isal"])
def test_a_stream_that_is_not_what_it_says_is_refused(
    tmp_path: Path, what: str, message: str, size: int, inflate: ModuleType
) -> None:
    segment = broken(lying(tmp_path, noise(size)), what)
    with pytest.raises(AssembleError, match=message) as caught:
        write_blob(
            [Entry("some/file", "file", 0o644, (segment,))],
            io.BytesIO(),
            inflate=inflate,  # type: ignore[arg-type]
            names={segment.path: "fold-1.0-py3-none-any.whl"},
        )
    assert "`some/file`" in str(caught.value)
    assert caught.value.artifact == "fold-1.0-py3-none-any.whl"


def test_plain_content_is_checked(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"plain")
    with pytest.raises(AssembleError, match="expected CRC-32 00000001"):
        made([Entry("f", "file", 0o644, (Plain(str(tmp_path / "p"), 0, 5, 1),))])
    with pytest.raises(AssembleError, match="the file ends at byte 5"):
        made([Entry("f", "file", 0o644, (Plain(str(tmp_path / "p"), 0, 6),))])


class Full(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


class Short(io.BytesIO):
    """A file that takes at most 1,000 bytes at once, as an unbuffered one may."""

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        return super().write(data[:1000])


@pytest.mark.parametrize("size", [10, 8_000_000])
def test_a_full_disk_is_an_error(tmp_path: Path, size: int) -> None:
    entry = Entry("f", "file", 0o644, (lying(tmp_path, random.Random(1).randbytes(size)),))
    with pytest.raises(OSError, match="No space left"):
        write_blob([entry], Full())


def test_short_writes_are_continued(tmp_path: Path) -> None:
    entry = Entry("f", "file", 0o644, (lying(tmp_path, noise(900_000)),))
    out = Short()
    assert write_blob([entry], out) == made([entry])[0]
    assert out.getvalue() == made([entry])[1]


def test_progress_adds_up_to_the_tar_stream(tmp_path: Path) -> None:
    told: list[int] = []
    entries = [Entry(f"f{i}", "file", 0o644, (lying(tmp_path, noise(900_000, i)),)) for i in range(8)]
    result = write_blob(entries, io.BytesIO(), progress=told.append)
    assert sum(told) == result.diff_size
    assert len(told) >= 3


def test_many_files_are_not_all_open_at_once(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    entries = [Entry(f"f{i:03}", "file", 0o644, (lying(tmp_path, b"%d" % i),)) for i in range(200)]
    # Tests before this one may have left files open in this process: those are not what is asked about.
    there = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(there + 100, hard), hard))
    try:
        assert len(made(entries)[0].listing) == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_content(tmp_path: Path) -> None:
    """300 MB through a fresh interpreter: its peak stays below 100 MB."""
    block = random.Random(1).randbytes(1 << 20)
    d = zlib.compressobj(1, zlib.DEFLATED, -15)
    crc = 0
    path = tmp_path / "big"
    with path.open("wb") as f:
        for _ in range(300):
            f.write(d.compress(block))
            crc = zlib.crc32(block, crc)
        f.write(d.flush())
    script = (
        "from flyte_build.assemble.blob import write_blob\n"
        "from flyte_build.assemble.entries import *\n"
        f"segment = Deflated({str(path)!r}, 0, {path.stat().st_size}, 300 << 20, {crc})\n"
        "with open('/dev/null', 'wb') as out:\n"
        "    write_blob([Entry('f', 'file', 0o644, (segment,))], out)\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM:')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100_000
