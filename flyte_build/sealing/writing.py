"""The entries of a sealed layer → tar in gzip, hashed as it is written. In one pass, without holding a file in memory.

The tar is the assembler's normal form. It is compressed by zlib: a sealed layer is content, which travels as it is, and
not made again from a derivation. The gzip header is fixed (RFC 1952, 2.3), so that only the DEFLATE stream is zlib's.
Secrets are looked for in what is written: where one is found, there is no layer.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from ..assemble.entries import Entry, Plain
from ..assemble.layer import arrange
from ..assemble.tar import END, header, padding
from .capturing import Changes

__all__ = ["Canary", "Holds", "Written", "write"]

_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_LEVEL = 6
_BLOCK = 1 << 20


class Holds(Exception):
    """A secret was found in what a step wrote: ``name`` at ``path``."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(f"`{path}` holds the secret {name}")
        self.name, self.path = name, path


@dataclass(frozen=True, slots=True)
class Written:
    """The layer: see :class:`~flyte_build.sealing.nouns.Outcome`."""

    digest: str
    size: int
    diff_id: str
    listing: dict[str, str]
    content: int


class Canary:
    """Looks for secrets' values in a stream, across the borders of its pieces."""

    def __init__(self, secrets: Sequence[tuple[str, bytes]]) -> None:
        self._secrets = [(name, value) for name, value in secrets if value]
        self._keep = max((len(value) for _, value in self._secrets), default=1) - 1
        self._tail = b""

    def look(self, data: bytes, path: str) -> None:
        """Raises :class:`Holds` for the first that is there."""
        if not self._secrets:
            return
        window = self._tail + data
        for name, value in self._secrets:
            if value in window:
                raise Holds(name, path)
        self._tail = window[len(window) - self._keep :] if self._keep else b""

    def next(self) -> None:
        """Another file begins."""
        self._tail = b""


def write(changes: Changes, out: BinaryIO, canary: Canary) -> Written:
    """Write the layer of ``changes`` to ``out``. Raises :class:`Holds`, and
    :class:`~flyte_build.assemble.errors.AssembleError` for a name that no layer can have."""
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15)
    plain, packed = hashlib.sha256(), hashlib.sha256()
    crc = length = size = content = 0
    listing: dict[str, str] = {}

    def add(data: bytes) -> None:
        nonlocal crc, length
        plain.update(data)
        crc, length = zlib.crc32(data, crc), length + len(data)
        emit(deflater.compress(data))

    def emit(data: bytes) -> None:
        nonlocal size
        packed.update(data)
        size += len(data)
        out.write(data)

    emit(_HEADER)
    for entry in arrange([("the step", e) for e in changes.entries], complete=False, removed=changes.removed):
        for piece in header(entry):
            add(piece)
        canary.next()
        canary.look(f"{entry.path}\0{entry.link}".encode("utf-8", "surrogateescape"), entry.path)
        canary.next()
        file = hashlib.sha256()
        for data in _content(entry):
            canary.look(data, entry.path)
            file.update(data)
            add(data)
        add(padding(entry.size))
        content += entry.size
        listing[entry.path] = _identity(entry, file.hexdigest())
    add(END)
    emit(deflater.flush())
    emit(struct.pack("<II", crc, length & 0xFFFFFFFF))
    return Written(f"sha256:{packed.hexdigest()}", size, f"sha256:{plain.hexdigest()}", listing, content)


def _content(entry: Entry) -> Iterator[bytes]:
    for segment in entry.content:
        if isinstance(segment, bytes):
            yield segment
            continue
        assert isinstance(segment, Plain)
        left = segment.size
        with open(segment.path, "rb") as f:
            while left:
                data = f.read(min(_BLOCK, left))
                if not data:
                    raise OSError(f"{entry.path}: {left} bytes fewer than a moment ago")
                left -= len(data)
                yield data


def _identity(entry: Entry, digest: str) -> str:
    """What is at a path, in a line: kind, mode, owner, and content or target."""
    what = digest[:16] if entry.kind == "file" else entry.link
    more = "".join(f" {name}={value.hex()}" for name, value in entry.xattrs)
    return f"{entry.kind} {entry.mode:04o} {entry.uid}:{entry.gid} {what}{more}".rstrip()
