"""Layers to make tables of: what is in them, and readers of our own that share no code with what is tested."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from flyte_build.assemble.blob import write_blob
from flyte_build.assemble.entries import Entry

__all__ = ["Table", "layer", "read_ztoc", "rows_of"]


def layer(path: Path) -> Path:
    """A layer of folders, links, empty, small and large files, one of which is longer than several members."""
    chance = random.Random(7)
    entries = [
        Entry("a", "dir", 0o755),
        Entry("a/empty", "file", 0o644),
        Entry("a/link", "symlink", 0o777, link="empty"),
    ]
    for i in range(40):
        data = chance.randbytes(chance.randint(1, 9000))
        entries.append(Entry(f"a/s{i:03}", "file", 0o644, (data,), uid=1000, gid=1000))
    entries.append(Entry("b", "dir", 0o1777))
    entries.append(Entry("b/large", "file", 0o755, (chance.randbytes(300_000),)))
    entries.append(Entry("b/other name", "hardlink", 0o755, link="b/large"))
    entries.append(Entry("b/" + "n" * 150, "file", 0o600, (b"long name",)))
    entries.append(Entry("b/ü", "file", 0o644, (b"umlaut",)))
    with open(path, "wb") as out:
        write_blob(entries, out)
    return path


def rows_of(path: Path) -> list[tuple[object, ...]]:
    """Name, type, mode, uid, gid, target and SHA-256 of each entry, as tarfile reads the layer."""
    rows: list[tuple[object, ...]] = []
    with tarfile.open(path) as tar:
        for m in tar:
            opened = tar.extractfile(m) if m.isreg() else None
            data = opened.read() if opened is not None else b""
            kind = "reg" if m.isreg() else "dir" if m.isdir() else "symlink" if m.issym() else "hardlink"
            name = m.name + ("/" if m.isdir() else "")
            rows.append((name, kind, m.mode, m.uid, m.gid, m.linkname, hashlib.sha256(data).hexdigest()))
    return rows


@dataclass(frozen=True)
class Table:
    """A table of a FlatBuffer, read by field numbers through its vtable."""

    data: bytes
    at: int

    @staticmethod
    def root(data: bytes) -> Table:
        return Table(data, struct.unpack_from("<I", data)[0])

    def _place(self, field: int) -> int:
        vtable = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        size = struct.unpack_from("<H", self.data, vtable)[0]
        assert 4 + 2 * field < size
        found = struct.unpack_from("<H", self.data, vtable + 4 + 2 * field)[0]
        assert found
        return self.at + int(found)

    def number(self, field: int, kind: str) -> int:
        place = self._place(field)
        assert place % struct.calcsize(kind) == 0, "numbers are aligned"
        return int(struct.unpack_from("<" + kind, self.data, place)[0])

    def _follow(self, place: int) -> int:
        assert place % 4 == 0
        return place + int(struct.unpack_from("<I", self.data, place)[0])

    def _vector(self, at: int) -> bytes:
        count = struct.unpack_from("<I", self.data, at)[0]
        return self.data[at + 4 : at + 4 + count]

    def bytes(self, field: int) -> bytes:
        return self._vector(self._follow(self._place(field)))

    def text(self, field: int) -> str:
        at = self._follow(self._place(field))
        found = self._vector(at)
        assert self.data[at + 4 + len(found)] == 0, "texts end in a zero"
        return found.decode()

    def _items(self, field: int) -> list[int]:
        at = self._follow(self._place(field))
        count = struct.unpack_from("<I", self.data, at)[0]
        return [self._follow(at + 4 + 4 * i) for i in range(count)]

    def tables(self, field: int) -> list[Table]:
        return [Table(self.data, at) for at in self._items(field)]

    def texts(self, field: int) -> list[str]:
        return [self._vector(at).decode() for at in self._items(field)]

    def table(self, field: int) -> Table:
        return Table(self.data, self._follow(self._place(field)))


def read_ztoc(table: bytes, blob: bytes) -> list[tuple[object, ...]]:
    """The rows of :func:`rows_of`, each file inflated from the spans that hold it and from nothing else."""
    root = Table.root(table)
    toc, info = root.table(4), root.table(5)
    points, size = info.bytes(3), root.number(2, "q")
    count = struct.unpack_from("<i", points)[0]
    marks = [struct.unpack_from("<qqB", points, 12 + i * (17 + 32768)) for i in range(count)]
    assert len(points) == 12 + count * (17 + 32768)
    assert (size, info.number(0, "b"), info.number(1, "i")) == (len(blob), 1, count - 1)
    ends = [*(start for start, _, _ in marks[1:]), size]
    digests = [f"sha256:{hashlib.sha256(blob[m[0] : end]).hexdigest()}" for m, end in zip(marks, ends, strict=True)]
    assert info.texts(2) == digests
    rows: list[tuple[object, ...]] = []
    for file in toc.tables(0):
        at, length = file.number(2, "q"), file.number(3, "q")
        first = max(i for i, (_, plain, _) in enumerate(marks) if plain <= at)
        last = max(i for i, (_, plain, _) in enumerate(marks) if plain <= max(at, at + length - 1))
        start, plain, bits = marks[first]
        assert bits == 0
        tar = _inflated(blob[start : ends[last]])
        data = tar[at - plain : at - plain + length]
        assert len(data) == length
        numbers = (file.number(5, "q"), file.number(6, "I"), file.number(7, "I"))
        rows.append((file.text(0), file.text(1), *numbers, file.text(4), hashlib.sha256(data).hexdigest()))
    return rows


def _inflated(data: bytes) -> bytes:
    """What a node makes of spans: a raw stream, then whole members, of which the last may be cut off in its header."""
    out, held = io.BytesIO(), data
    while True:
        inflater = zlib.decompressobj(-15)
        out.write(inflater.decompress(held))
        held = inflater.unused_data[8 + 10 :]
        if not held:
            return out.getvalue()
