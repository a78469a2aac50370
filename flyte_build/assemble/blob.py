"""Sorted entries → one tar stream and one gzip blob, hashed as they are made. The hot loop of the project.

The blob is gzip of many members (RFC 1952, 2.2): fresh bytes (headers, padding, scripts) are members made by our
own encoder, and each DEFLATE stream that lies in a wheel becomes a member of its own, byte for byte (law 4).
The tar stream is only hashed, for the diff_id. The calling thread reads and inflates; a second one hashes and
writes, a third hashes the tar, so the slower side decides. What comes out does not depend on which inflater is
used: size, CRC-32 and end of every stream are checked, and a stream that passes has one meaning.
"""

from __future__ import annotations

import hashlib
import queue
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Protocol

from .deflate import BLOCK, deflate, stored_block
from .entries import Deflated, Entry, Plain
from .errors import AssembleError
from .reading import Reader
from .tar import END, header, padding

__all__ = ["BlobResult", "Inflate", "write_blob"]

# RFC 1952, 2.3: deflate, no flags, no mtime, no extra flags, unknown operating system.
_MEMBER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_BATCH = 512 << 10
_CHUNK = 256 << 10
_WHOLE = 1 << 20
_STORED_CHUNK = 4 * BLOCK


class Inflate(Protocol):
    """What we need of ``zlib``; ``isal.isal_zlib`` is the same and faster."""

    error: type[Exception]

    def decompressobj(self, wbits: int = ..., /) -> Any: ...

    def crc32(self, data: bytes, value: int = ..., /) -> int: ...


@dataclass(frozen=True, slots=True)
class BlobResult:
    """``digest`` and ``diff_id`` as ``sha256:<hex>``, sizes in bytes of the blob and of the tar stream.

    ``listing`` gives each path's identity: ``f 0644 <size> <crc32>``, ``d 0755``, ``l <target>`` or
    ``h <path>``, followed by `` <uid>:<gid>`` where that is not ``0:0``.
    """

    digest: str
    size: int
    diff_id: str
    diff_size: int
    listing: dict[str, str]


class _Stream:
    """Bytes in batches to a thread that hashes them (and writes them, if there is where to)."""

    def __init__(self, write: Callable[[memoryview], int] | None = None) -> None:
        self._write = write
        self._hash = hashlib.sha256()
        self._parts: list[bytes] = []
        self._pending = 0
        self._queue: queue.Queue[bytes | None] = queue.Queue(4)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._consume, daemon=True)
        self.size = 0

    def __enter__(self) -> _Stream:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._queue.put(None)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def add(self, data: bytes) -> None:
        self._parts.append(data)
        self._pending += len(data)
        if self._pending >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._error is not None:
            raise self._error
        parts = self._parts
        self._queue.put(parts[0] if len(parts) == 1 else b"".join(parts))
        self.size += self._pending
        self._parts, self._pending = [], 0

    def _consume(self) -> None:
        while (data := self._queue.get()) is not None:
            if self._error is not None:
                continue
            try:
                self._hash.update(data)
                if self._write is not None:
                    rest = memoryview(data)
                    while rest:  # an unbuffered file may take less than it is given
                        rest = rest[self._write(rest) :]
            except BaseException as e:
                self._error = e

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()


class _Writer:
    """Takes entries one by one, in order; both streams grow together."""

    def __init__(self, blob: _Stream, tar: _Stream, inflate: Inflate, names: Mapping[str, str]) -> None:
        self._blob, self._tar = blob, tar
        self._inflate = inflate
        self._crc32 = inflate.crc32
        self._reader = Reader()
        self._names = names
        self._fresh: list[bytes] = []

    def entry(self, entry: Entry) -> str:
        """Write ``entry``; returns its identity."""
        self._fresh.extend(header(entry))
        size = crc = 0
        many = len(entry.content) > 1
        for segment in entry.content:
            running = self._crc32 if many else None
            if isinstance(segment, bytes):
                self._fresh.append(segment)
                crc = self._crc32(segment, crc)
                size += len(segment)
                continue
            try:
                self.flush()
                if isinstance(segment, Deflated):
                    own, crc = self._deflated(segment, crc, running)
                else:
                    own, crc = self._plain(segment, crc, running)
            except (ValueError, EOFError, self._inflate.error) as e:
                raise AssembleError(f"`{entry.path}`: {e}", self._names.get(segment.path, segment.path)) from None
            crc = crc if many else own
            size += segment.size
        if pad := padding(size):
            self._fresh.append(pad)
        return _identity(entry, size, crc)

    def flush(self) -> None:
        """Encode what is fresh as one gzip member."""
        if not self._fresh:
            return
        data = b"".join(self._fresh)
        self._tar.add(data)
        trailer = struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)
        self._blob.add(_MEMBER + deflate(*self._fresh) + trailer)
        self._fresh = []

    def end(self) -> None:
        self._fresh.append(END)
        self.flush()

    def close(self) -> None:
        self._reader.close()

    def _deflated(self, s: Deflated, total: int, running: Callable[[bytes, int], int] | None) -> tuple[int, int]:
        """Both forms of a stream; its CRC-32, and that of the entry so far where the entry has more segments."""
        d = self._inflate.decompressobj(-15)
        crc = size = 0
        if s.csize <= _WHOLE and s.size <= _WHOLE:
            raw = self._reader.read(s.path, s.offset, s.csize)
            data = d.decompress(raw, s.size + 1)
            if not d.eof:  # the last bits of a stream can wait for room that is never used
                data += d.decompress(d.unconsumed_tail, 1)
            self._tar.add(data)
            crc, size = self._crc32(data), len(data)
            if running:
                total = running(data, total)
            self._blob.add(_MEMBER + raw + struct.pack("<II", s.crc32, s.size & 0xFFFFFFFF))
        else:
            self._blob.add(_MEMBER)
            offset, end = s.offset, s.offset + s.csize
            tail = b""
            while not d.eof:
                if not tail:
                    if offset == end:
                        break
                    tail = self._reader.read(s.path, offset, min(_CHUNK, end - offset))
                    offset += len(tail)
                    self._blob.add(tail)
                data = d.decompress(tail, _WHOLE)
                tail = d.unconsumed_tail
                if data:
                    self._tar.add(data)
                    crc = self._crc32(data, crc)
                    size += len(data)
                    if running:
                        total = running(data, total)
                    if size > s.size:
                        break
            if d.eof and offset != end:
                raise ValueError("its DEFLATE stream ends before its compressed size")
            self._blob.add(struct.pack("<II", s.crc32, s.size & 0xFFFFFFFF))
        if size > s.size:
            raise ValueError(f"expected {s.size} bytes, its DEFLATE stream holds more")
        if not d.eof:
            raise ValueError("its DEFLATE stream does not end within its compressed size")
        if d.unused_data:
            raise ValueError("its DEFLATE stream ends before its compressed size")
        _check(s.size, s.crc32, size, crc)
        return crc, total

    def _plain(self, s: Plain, total: int, running: Callable[[bytes, int], int] | None) -> tuple[int, int]:
        """Stored blocks of bytes that lie uncompressed in a file."""
        blob, tar = self._blob, self._tar
        blob.add(_MEMBER)
        crc = at = 0
        while True:
            data = self._reader.read(s.path, s.offset + at, min(_STORED_CHUNK, s.size - at))
            tar.add(data)
            crc = self._crc32(data, crc)
            if running:
                total = running(data, total)
            for start in range(0, max(len(data), 1), BLOCK):
                block = data[start : start + BLOCK]
                blob.add(stored_block(len(block), final=at + start + BLOCK >= s.size) + block)
            at += len(data)
            if at >= s.size:
                break
        blob.add(struct.pack("<II", crc, s.size & 0xFFFFFFFF))
        _check(s.size, crc if s.crc32 is None else s.crc32, at, crc)
        return crc, total


def _check(size: int, crc: int, found_size: int, found_crc: int) -> None:
    if found_size != size:
        raise ValueError(f"expected {size} bytes, found {found_size}")
    if found_crc != crc:
        raise ValueError(f"expected CRC-32 {crc:08x}, found {found_crc:08x}")


def _identity(entry: Entry, size: int, crc: int) -> str:
    if entry.kind == "file":
        identity = f"f {entry.mode:04o} {size} {crc:08x}"
    elif entry.kind == "dir":
        identity = f"d {entry.mode:04o}"
    else:
        identity = f"{'l' if entry.kind == 'symlink' else 'h'} {entry.link}"
    return identity if entry.uid == entry.gid == 0 else f"{identity} {entry.uid}:{entry.gid}"


def write_blob(
    entries: Iterable[Entry],
    out: BinaryIO,
    *,
    inflate: Inflate = zlib,  # type: ignore[assignment]
    names: Mapping[str, str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> BlobResult:
    """Write ``entries``, in the order given, as a gzip-compressed tar layer to ``out``.

    ``names`` says how to call a segment's file in messages (its artifact's name); ``progress`` is told bytes of
    the tar stream as they are made. Raises :class:`AssembleError` for content that is not what its segment
    says, and whatever ``out.write`` and reading raise. Memory does not depend on the input's size.
    """
    listing: dict[str, str] = {}
    with _Stream(out.write) as blob, _Stream() as tar:
        writer = _Writer(blob, tar, inflate, names or {})
        try:
            told = 0
            for entry in entries:
                listing[entry.path] = writer.entry(entry)
                if progress is not None and tar.size != told:
                    progress(tar.size - told)
                    told = tar.size
            writer.end()
        finally:
            writer.close()
    if progress is not None:
        progress(tar.size - told)
    return BlobResult(blob.digest, blob.size, tar.digest, tar.size, listing)
