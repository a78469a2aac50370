"""The core for ARM's 64-bit processors makes the same bytes: run by qemu, which has the instructions that it takes."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any, cast

import pytest

from flyte_build.assemble.entries import Entry
from flyte_build.native import blob, naming
from flyte_build.native.__main__ import build

from .layers import content, draw
from .test_equal import by_python

pytestmark = pytest.mark.integration
QEMU, LIBC = "qemu-aarch64-static", Path("/usr/aarch64-linux-gnu")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which(QEMU) is None or not LIBC.is_dir():
        missing = f"expected {QEMU} and {LIBC}: apt-get install qemu-user-static libc6-arm64-cross"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    made = tmp_path_factory.mktemp("arm") / "core"
    sources = [str(path) for path in naming.sources() if path.suffix == ".c"]
    command = [sys.executable, "-m", "ziglang", "cc", "-target", naming.MACHINES["aarch64"], "-O2", "-pthread"]
    own = Path(__file__).with_name("other_machine.c")
    done = subprocess.run(
        [*command, "-I", str(naming.HERE / "c"), "-o", str(made), str(own), *sources],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return made


class Recorded:
    """In place of the library: keeps the operations, and has the program do them while their files are open."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program, self._folder = program, folder
        self.ops, self.said, self.files = b"", list[str](), dict[str, int]()

    def core_open(self, *_: object) -> int:
        return 1

    def core_feed(self, _: int, ops: bytes, size: int) -> int:
        self.ops += ops
        return 0

    def core_wait(self, _: int) -> int:
        (self._folder / "ops").write_bytes(self.ops)
        command = [QEMU, "-L", LIBC, self._program, self._folder / "ops", self._folder / "out", "2"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, pass_fds=list(self.files.values()))
        self.said = done.stdout.split()
        return 0

    def core_results(self, *_: object) -> int:
        return 0

    def core_close(self, _: int) -> None:
        pass


def same(program: Path, entries: list[Entry], folder: Path) -> None:
    recorded = Recorded(program, folder)
    with (folder / "never").open("wb") as out:
        making = blob._Making(cast(Any, recorded), out, None)
        recorded.files = making._files
        making.run(entries)
    result, data = by_python(entries, folder / "python")
    digests = [f"sha256:{said}" for said in recorded.said[:2]]
    assert digests == [result.digest, result.diff_id]
    assert (folder / "out").read_bytes() == data
    ops = recorded.ops
    hashes = [hashlib.sha256(part).hexdigest() for part in (ops, ops, ops[: len(ops) // 2])]
    assert recorded.said[2:] == [*hashes, f"{zlib.crc32(ops):08x}"]


def told(entries: list[Entry]) -> list[Entry]:
    """Those of which nothing is to be told but the digests."""
    return [e for e in entries if all(isinstance(s, bytes) or s.crc32 is not None for s in e.content)]


def test_layers(program: Path, tmp_path: Path) -> None:
    for number in range(12):
        same(program, told(draw(random.Random(f"arm {number}"), tmp_path, 6000 if number else 1_500_000)), tmp_path)


def test_what_is_encoded(program: Path, tmp_path: Path) -> None:
    r = random.Random("arm")
    contents = [b"".join(content(r, 60_000) for _ in range(6)) for _ in range(5)]
    same(program, [Entry(f"f{n}", "file", 0o644, (data,)) for n, data in enumerate(contents)], tmp_path)


def test_the_library_is_one_for_that_machine(tmp_path: Path) -> None:
    build(tmp_path / "core.so", "aarch64")
    data = (tmp_path / "core.so").read_bytes()
    assert data[:4] == b"\x7fELF"
    assert int.from_bytes(data[18:20], "little") == 183, "EM_AARCH64"
    words = memoryview(data[: len(data) // 4 * 4]).cast("I").tolist()
    assert sum(word & 0xFFE0FC00 == 0x5E004000 for word in words) >= 16, "SHA256H"
    assert any(word & 0xFFE0FC00 == 0x9AC04C00 for word in words), "CRC32X"
