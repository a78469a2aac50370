"""What is not as it should be: the core takes nothing that zlib refuses, reads nothing beyond, in Python's words."""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_build.assemble.blob import write_blob as purely
from flyte_build.assemble.entries import Deflated, Entry, Plain
from flyte_build.assemble.errors import AssembleError
from flyte_build.native import blob

from .layers import content, deflated

SLACK_IN, SLACK_OUT = 64, 384


class Guarded:
    """Memory of ``size`` bytes that ends where no other begins: one more read or written ends the process."""

    def __init__(self, size: int) -> None:
        pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._map = mmap.mmap(-1, pages + mmap.PAGESIZE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        assert protect(start + pages, mmap.PAGESIZE, 0) == 0
        self.end = start + pages

    def holding(self, data: bytes) -> int:
        """The address of ``data``, at the end."""
        ctypes.memmove(self.end - len(data), data, len(data))
        return self.end - len(data)


@pytest.fixture(scope="module")
def room() -> tuple[Guarded, Guarded]:
    return Guarded(100_000), Guarded(100_000)


def by_zlib(raw: bytes, size: int) -> bytes | None:
    """The content, where ``raw`` is one whole stream of ``size`` bytes."""
    d = zlib.decompressobj(-15)
    try:
        data = d.decompress(raw, size + 1) + d.decompress(d.unconsumed_tail, 1)
    except zlib.error:
        return None
    return data if d.eof and not d.unused_data and len(data) == size else None


def by_core(native: ctypes.CDLL, room: tuple[Guarded, Guarded], raw: bytes, size: int, step: int) -> bytes | None:
    source, target = room[0].holding(raw + bytes(SLACK_IN)), room[1].end - size - SLACK_OUT
    if not native.core_inflate(source, len(raw), target, size, step):
        return None
    return ctypes.string_at(target, size)


def change(r: random.Random, raw: bytes) -> bytes:
    """One to three changes: a bit, a byte, a cut, bytes put in."""
    data = bytearray(raw)
    for _ in range(r.randrange(1, 4)):
        at = r.randrange(len(data)) if data else 0
        kind = r.randrange(5)
        if kind == 0 and data:
            data[at] ^= 1 << r.randrange(8)
        elif kind == 1 and data:
            # Where a block's header is, most is decided.
            data[r.randrange(min(len(data), 20))] = r.randrange(256)
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            data[at:at] = r.randbytes(r.randrange(1, 4))
        elif data:
            del data[at]
    return bytes(data)


def test_streams_of_any_kind(native: ctypes.CDLL, room: tuple[Guarded, Guarded]) -> None:
    """Whole and in steps, good and changed: what zlib makes of it or nothing."""
    r, good, bad = random.Random(1), 0, 0
    for _ in range(1500):
        data = content(r, 20_000)
        raw, size = deflated(r, data), len(data)
        if r.random() < 0.7:
            raw = change(r, raw)
        if r.random() < 0.05:
            size = max(0, size + r.choice((-1, 1, -300, 300)))
        wanted = by_zlib(raw, size)
        for step in (0, r.randrange(1, 40), r.randrange(1, 20_000)):
            assert by_core(native, room, raw, size, step) == wanted, (raw.hex(), size, step)
        good, bad = good + (wanted is not None), bad + (wanted is None)
    assert good > 300, "some are taken"
    assert bad > 300, "some are refused"


def test_noise(native: ctypes.CDLL, room: tuple[Guarded, Guarded]) -> None:
    """Headers of dynamic blocks that nobody's encoder would write."""
    r = random.Random(2)
    for _ in range(3000):
        raw = bytes([r.randrange(256) & ~7 | r.choice((4, 5, 2, 3, 5))]) + r.randbytes(r.randrange(200))
        size = r.choice((0, 1, 10, 1000))
        assert by_core(native, room, raw, size, 0) == by_zlib(raw, size), (raw.hex(), size)


def lying(folder: Path, data: bytes) -> Deflated:
    raw = zlib.compress(data, wbits=-15)
    (folder / "f").write_bytes(b"before" + raw + b"after")
    hashed = "sha256", hashlib.sha256(data).digest()
    return Deflated(str(folder / "f"), 6, len(raw), len(data), zlib.crc32(data), hashed)


FAULTS: dict[str, Callable[[Deflated], Deflated | Plain]] = {
    "crc": lambda s: s._replace(crc32=s.crc32 ^ 1),
    "hash": lambda s: s._replace(hash=("sha256", bytes(32))),
    "too short": lambda s: s._replace(size=s.size + 1),
    "too long": lambda s: s._replace(size=s.size - 1),
    "cut off": lambda s: s._replace(csize=s.csize - 1),
    "more follows": lambda s: s._replace(csize=s.csize + 1),
    "elsewhere": lambda s: s._replace(offset=s.offset + 1),
    "file ends": lambda s: s._replace(offset=1 << 40),
    "no file": lambda s: s._replace(path=s.path + "x"),
    "plain's crc": lambda s: Plain(s.path, 0, s.csize, 1),
    "plain's hash": lambda s: Plain(s.path, 0, s.csize, None, ("sha256", bytes(32))),
    "plain ends": lambda s: Plain(s.path, 0, s.csize + 100),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("size", [1000, 1_300_000])
def test_the_words_are_those_of_python(native: ctypes.CDLL, tmp_path: Path, fault: str, size: int) -> None:
    good = lying(tmp_path, random.Random(1).randbytes(size // 2) + bytes(size - size // 2))
    entries = [Entry("a", "file", 0o644, (good,)), Entry("b", "file", 0o644, (FAULTS[fault](good),))]
    said = []
    for write in (blob.write_blob, purely):
        with (tmp_path / "out").open("wb") as out, pytest.raises((AssembleError, OSError)) as caught:
            write(entries, out, names={good.path: "alpha-1.0-py3-none-any.whl"})
        said.append((type(caught.value), str(caught.value)))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "hash", [("sha512", hashlib.sha512(b"abc").digest()), ("sha384", hashlib.sha384(b"abc").digest())]
)
def test_what_it_does_not_know_is_left_to_python(native: ctypes.CDLL, tmp_path: Path, hash: tuple[str, bytes]) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    made = []
    for number, write in enumerate((blob.write_blob, purely)):
        with (tmp_path / f"out{number}").open("wb") as out:
            out.write(b"before")
            lone = [Entry("x", "file", 0o644, (b"x" * 600_000, Plain(str(tmp_path / "f"), 0, 3, None, hash)))]
            made.append(write(lone, out))
    assert made[0] == made[1]
    assert (tmp_path / "out0").read_bytes() == (tmp_path / "out1").read_bytes()


def test_a_full_disk_is_an_error(native: ctypes.CDLL, tmp_path: Path) -> None:
    """As the limit of a file's size: an error of the operating system, as Python has it."""
    script = (
        "import resource, signal, sys\n"
        "from flyte_build.native import write_blob\n"
        "from flyte_build.assemble.entries import Entry\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "import random\n"
        "entries = [Entry(f'{i}', 'file', 0o644, (random.Random(i).randbytes(50_000),)) for i in range(40)]\n"
        "try:\n"
        "    with open(sys.argv[1], 'wb', buffering=0) as out:\n"
        "        write_blob(entries, out)\n"
        "except OSError as e:\n"
        "    print(e.errno)\n"
    )
    import errno
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "out")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(errno.EFBIG)
