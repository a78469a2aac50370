"""How far from the floor is a layer? ``python benchmarks/transcode.py WHEEL ... [--runs N]``

The floor is what nobody can leave out: inflate every member and take the SHA-256 of both streams (the wheels' bytes
and their contents), with one thread that inflates and one that hashes, in the faster of zlib and isal. Nothing is
parsed, checked or written there. Ours makes the whole layer: blob written, diff_id, every CRC-32 and every hash of
RECORD verified. Both run in turn, in this process, from a warm page cache; the best of N runs counts, and the ratio is
what to compare between machines.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import queue
import struct
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from isal import isal_zlib

from flyte_build.assemble.layer import LayerResult
from flyte_build.assemble.version import ASSEMBLER
from flyte_build.native import core, write_layer

if TYPE_CHECKING:
    from flyte_build.assemble.blob import Inflate

BATCH = 512 << 10
CHUNK = 256 << 10


@dataclass(frozen=True, slots=True)
class Stream:
    """A member's bytes in its wheel."""

    file: int
    offset: int
    csize: int
    size: int
    stored: bool


def streams(wheels: Sequence[Path], files: Sequence[int]) -> list[Stream]:
    """Where everything lies; found beforehand, so that the floor is not charged for it."""
    found = []
    for wheel, file in zip(wheels, files, strict=True):
        with zipfile.ZipFile(wheel) as archive:
            for info in archive.infolist():
                name_size, extra_size = struct.unpack("<HH", os.pread(file, 4, info.header_offset + 26))
                offset = info.header_offset + 30 + name_size + extra_size
                stored = info.compress_type == zipfile.ZIP_STORED
                found.append(Stream(file, offset, info.compress_size, info.file_size, stored))
    return found


def floor(members: Sequence[Stream], inflate: ModuleType) -> None:
    """Inflate, and SHA-256 of both streams in a second thread."""
    batches: queue.Queue[bytes | None] = queue.Queue(8)

    def hash_all() -> None:
        hashed = hashlib.sha256()
        while (data := batches.get()) is not None:
            hashed.update(data)

    hasher = threading.Thread(target=hash_all)
    hasher.start()
    small: list[bytes] = []
    pending = 0
    for m in members:
        if m.csize <= CHUNK and m.size <= 4 * CHUNK:
            raw = os.pread(m.file, m.csize, m.offset)
            data = raw if m.stored else inflate.decompress(raw, -15, m.size or 1)
            small += (raw, data)
            pending += len(raw) + len(data)
            if pending >= BATCH:
                batches.put(b"".join(small))
                small, pending = [], 0
            continue
        d = inflate.decompressobj(-15)
        for at in range(0, m.csize, CHUNK):
            raw = os.pread(m.file, min(CHUNK, m.csize - at), m.offset + at)
            batches.put(raw)
            while raw:
                batches.put(raw if m.stored else d.decompress(raw, 4 * CHUNK))
                raw = b"" if m.stored else d.unconsumed_tail
    batches.put(b"".join(small))
    batches.put(None)
    hasher.join()


def layer(hashes: dict[str, str], out: Path, *, verify: bool = True) -> LayerResult:
    """The whole layer, as a build makes it; ``verify`` the hashes of RECORD too."""
    spec = {
        "kind": "wheels",
        "assembler": ASSEMBLER,
        "title": "benchmark",
        "python": "3.11",
        "venv": "/opt/venv",
        "wheels": [{"file": Path(path).name, "sha256": sha256} for sha256, path in hashes.items()],
    }
    with out.open("wb") as f:
        inflate = cast("Inflate", isal_zlib)
        return write_layer(
            spec, hashes.__getitem__, f, scratch=str(out.parent), inflating=lambda: inflate, verify=verify
        )


def best(runs: int, *tasks: Callable[[], object]) -> list[float]:
    """Seconds of the best run of each task; tasks take turns, so that a busy machine is busy for all."""
    times: list[list[float]] = [[] for _ in tasks]
    for _ in range(runs):
        for task, taken in zip(tasks, times, strict=True):
            start = time.perf_counter()
            task()
            taken.append(time.perf_counter() - start)
    return [min(taken) for taken in times]


def peak_memory() -> int:
    """The peak of this process, in bytes, since :func:`forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:"))


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def machine() -> str:
    """What the numbers were measured on."""
    models = [line for line in io.StringIO(Path("/proc/cpuinfo").read_text()) if line.startswith("model name")]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    flags = Path("/proc/cpuinfo").read_text()
    sha = "with" if " sha_ni" in flags or " sha2" in flags else "without"
    return (
        f"{model}, {os.cpu_count()} CPUs, {sha} SHA instructions, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, zlib {zlib.ZLIB_RUNTIME_VERSION}, Linux {platform.release()}, {core()}"
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds, bytes, and the ratio that counts."""

    wheels: int
    files: int
    compressed: int
    uncompressed: int
    floor_zlib: float
    floor_isal: float
    layer: float
    layer_unverified: float
    ratio: float
    peak_memory: int


def measure(wheels: Sequence[Path], runs: int) -> Measured:
    files = [os.open(wheel, os.O_RDONLY) for wheel in wheels]
    try:
        members = streams(wheels, files)
        hashes = {}
        for wheel in wheels:
            with wheel.open("rb") as f:
                hashes[hashlib.file_digest(f, "sha256").hexdigest()] = str(wheel)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "layer"
            layer(hashes, out)
            forget_peak()
            result = layer(hashes, out)
            peak = peak_memory()
            with_zlib, with_isal, ours, unverified = best(
                runs,
                lambda: floor(members, zlib),
                lambda: floor(members, isal_zlib),
                lambda: layer(hashes, out),
                lambda: layer(hashes, out, verify=False),
            )
    finally:
        for file in files:
            os.close(file)
    return Measured(
        wheels=len(wheels),
        files=len(result.listing),
        compressed=result.size,
        uncompressed=result.diff_size,
        floor_zlib=with_zlib,
        floor_isal=with_isal,
        layer=ours,
        layer_unverified=unverified,
        ratio=ours / min(with_zlib, with_isal),
        peak_memory=peak,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path, help="wheels that go into one layer")
    parser.add_argument("--runs", type=int, default=5, help="the best of so many (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args()
    measured = measure(arguments.wheels, arguments.runs)
    if arguments.json:
        print(json.dumps({"machine": machine(), **asdict(measured)}))
        return 0
    m = measured
    print(machine())
    print(f"{m.wheels} wheels, {m.files} entries, {m.compressed / 1e6:.1f} MB → {m.uncompressed / 1e6:.1f} MB of tar")
    print(f"floor, zlib  {m.floor_zlib:8.3f} s")
    print(f"floor, isal  {m.floor_isal:8.3f} s")
    print(f"layer        {m.layer:8.3f} s   {m.ratio:.2f} × the floor, peak {m.peak_memory / 1e6:.0f} MB")
    unverified = m.layer_unverified / min(m.floor_zlib, m.floor_isal)
    print(f"  unverified {m.layer_unverified:8.3f} s   {unverified:.2f} × the floor: without the hashes of RECORD")
    return 0


if __name__ == "__main__":
    sys.exit(main())
