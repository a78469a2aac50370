"""Sorted entries → one tar stream and one gzip blob, hashed as they are made. The hot loop of the project.

The blob is gzip of many members (RFC 1952, 2.2): fresh bytes (headers, padding, scripts) are members made by our
own encoder, and each DEFLATE stream that lies in a wheel becomes a member of its own, byte for byte (law 4).
The tar stream is only hashed, for the diff_id. The calling thread reads and inflates; others hash and write, so
that the slowest decides. What comes out does not depend on which inflater is
used: size, CRC-32 and end of every stream are checked, and a stream that passes has one meaning.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from .deflate import BLOCK, deflate, stored_block
from .entries import Deflated, Entry, Plain
from .errors import AssembleError
from .reading import Reader
from .streams import Expected, Stream, Verifier
from .tar import BLOCK as TAR_BLOCK
from .tar import END, header, padding

__all__ = ["BlobResult", "Inflate", "write_blob"]

# RFC 1952, 2.3: deflate, no flags, no mtime, no extra flags, unknown operating system.
_MEMBER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_CHUNK = 256 << 10
_WHOLE = 1 << 20
_STORED_CHUNK = 4 * BLOCK
_32_BITS = 0xFFFFFFFF
_trailer = struct.Struct("<II").pack


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


class _Writer:
    """Takes entries one by one, in order; both streams grow together."""

    def __init__(
        self, blob: Stream, tar: Stream, verifier: Verifier, inflate: Inflate, names: Mapping[str, str]
    ) -> None:
        self._blob, self._tar, self._verifier = blob, tar, verifier
        self._inflate = inflate
        self._crc32 = inflate.crc32
        self._reader = Reader()
        self._names = names
        self._fresh: list[bytes] = []

    def entry(self, entry: Entry) -> str:
        """Write ``entry``; returns its identity."""
        self._fresh += header(entry)
        content = entry.content
        size = crc = 0
        for segment in content:
            if isinstance(segment, bytes):
                self._fresh.append(segment)
                size += len(segment)
                crc = self._crc32(segment, crc)
                continue
            # An entry has a CRC-32 of its own only where it has more than one segment.
            total = crc if len(content) > 1 else None
            if segment.hash is not None:
                name = self._names.get(segment.path, segment.path)
                self._verifier.add(Expected(segment.hash, entry.path, name))
            try:
                crc = self._deflated(segment, total) if isinstance(segment, Deflated) else self._plain(segment, total)
            except (ValueError, EOFError, self._inflate.error) as e:
                raise AssembleError(f"`{entry.path}`: {e}", self._names.get(segment.path, segment.path)) from None
            if segment.hash is not None:
                self._verifier.add(None)
            size += segment.size
        if size % TAR_BLOCK:
            self._fresh.append(padding(size))
        return _identity(entry, size, crc)

    def end(self) -> None:
        """Write the end of the archive."""
        self._fresh.append(END)
        self._blob.add(self._encoded())

    def close(self) -> None:
        self._reader.close()

    def _encoded(self) -> bytes:
        """What is fresh, as one gzip member, or nothing; the tar stream gets it as it is."""
        fresh = self._fresh
        if not fresh:
            return b""
        self._fresh = []
        data = b"".join(fresh)
        self._tar.add(data)
        return b"".join((_MEMBER, deflate(*fresh), _trailer(self._crc32(data), len(data) & _32_BITS)))

    def _deflated(self, s: Deflated, total: int | None) -> int:
        """Both forms of a DEFLATE stream; its CRC-32, or ``total`` continued over it."""
        d = self._inflate.decompressobj(-15)
        if s.csize > _WHOLE or s.size > _WHOLE:
            return self._long(s, d, total)
        raw = self._reader.read(s.path, s.offset, s.csize)
        head = self._encoded()
        data = d.decompress(raw, s.size + 1)
        if not d.eof:  # the last bits of a stream can wait for room that is never used
            data += d.decompress(d.unconsumed_tail, 1)
        crc = self._crc32(data)
        _check(s, len(data), crc, ended=d.eof, left=bool(d.unused_data))
        self._tar.add(data)
        if s.hash is not None:
            self._verifier.add(data)
        self._blob.add(b"".join((head, _MEMBER, raw, _trailer(crc, s.size))))
        return crc if total is None else self._crc32(data, total)

    def _long(self, s: Deflated, d: Any, total: int | None) -> int:
        """The same for a stream that is too long to be held in memory."""
        blob, tar, crc32 = self._blob, self._tar, self._crc32
        blob.add(self._encoded() + _MEMBER)
        offset, end = s.offset, s.offset + s.csize
        crc = size = 0
        raw = data = b""
        while not d.eof and size <= s.size:
            if not raw and offset < end:
                raw = self._reader.read(s.path, offset, min(_CHUNK, end - offset))
                offset += len(raw)
                blob.add(raw)
            elif not raw and not data:
                break
            data = d.decompress(raw, _WHOLE)
            raw = d.unconsumed_tail
            tar.add(data)
            if s.hash is not None:
                self._verifier.add(data)
            size += len(data)
            crc = crc32(data, crc)
            if total is not None:
                total = crc32(data, total)
        _check(s, size, crc, ended=d.eof, left=bool(d.unused_data) or offset < end)
        blob.add(_trailer(crc, s.size & _32_BITS))
        return crc if total is None else total

    def _plain(self, s: Plain, total: int | None) -> int:
        """Stored blocks of bytes that lie uncompressed in a file; CRC-32 as for :meth:`_deflated`."""
        blob, tar, crc32 = self._blob, self._tar, self._crc32
        blob.add(self._encoded() + _MEMBER)
        crc = at = 0
        while at < s.size or at == 0:
            data = self._reader.read(s.path, s.offset + at, min(_STORED_CHUNK, s.size - at))
            tar.add(data)
            if s.hash is not None:
                self._verifier.add(data)
            crc = crc32(data, crc)
            if total is not None:
                total = crc32(data, total)
            for start in range(0, max(len(data), 1), BLOCK):
                block = data[start : start + BLOCK]
                blob.add(stored_block(len(block), final=at + start + BLOCK >= s.size) + block)
            at += len(data)
            if not data:
                break
        blob.add(_trailer(crc, s.size & _32_BITS))
        _check(s, at, crc)
        return crc if total is None else total


def _check(s: Deflated | Plain, size: int, crc: int, *, ended: bool = True, left: bool = False) -> None:
    """Raises ``ValueError`` where what was found in ``s`` is not what ``s`` says."""
    if s.crc32 == crc and size == s.size and ended and not left:
        return
    if size > s.size:
        raise ValueError(f"expected {s.size} bytes, its DEFLATE stream holds more")
    if not ended:
        raise ValueError(f"expected {s.size} bytes, its DEFLATE stream is cut off after {size}")
    if left:
        raise ValueError("its DEFLATE stream ends before its compressed size")
    if size != s.size:
        raise ValueError(f"expected {s.size} bytes, found {size}")
    if s.crc32 is not None:
        raise ValueError(f"expected CRC-32 {s.crc32:08x}, found {crc:08x}")


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
    blob, tar, verifier = Stream(out.write), Stream(), Verifier()
    with blob, tar, verifier:
        writer = _Writer(blob, tar, verifier, inflate, names or {})
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
