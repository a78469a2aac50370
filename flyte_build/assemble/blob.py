"""Sorted entries → one tar stream and one gzip blob, hashed as they are made. The hot loop of the project.

The blob is gzip of many members (RFC 1952, 2.2): fresh bytes (headers, padding, scripts) are members made by our
own encoder, and each DEFLATE stream that lies in a wheel becomes a member of its own, byte for byte (law 4).
The tar stream is only hashed, for the diff_id. This thread makes headers and inflates, others hash and write.
(Inflating in threads of its own was measured too: with short streams, the interpreter lock takes what it gives.)
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from . import inflating
from .byte_ranges import Reader
from .deflate import BLOCK, deflate, stored_block
from .entries import Deflated, Entry, Plain
from .errors import AssembleError
from .inflating import Inflate
from .streams import Expected, Stream, Verifier
from .tar import BLOCK as TAR_BLOCK
from .tar import END, header, padding

__all__ = ["FRESH", "BlobResult", "Inflate", "identity", "write_blob"]

# RFC 1952, 2.3: deflate, no flags, no mtime, no extra flags, unknown operating system.
_MEMBER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_trailer = struct.Struct("<II").pack
_32_BITS = 0xFFFFFFFF
FRESH = 32 << 10
"""Fresh bytes beyond this are a member of their own at the next entry: what is much longer would not be encoded."""
_STORED_CHUNK = 4 * BLOCK
# Telling another thread takes longer than hashing this many bytes.
_HASHED_HERE = 64 << 10


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
        self._names = names
        self._fresh: list[bytes] = []
        self._fresh_size = 0
        self._reader = Reader()

    def entry(self, entry: Entry) -> str:
        """Write ``entry``; returns its identity."""
        pieces = header(entry)
        self._fresh += pieces
        self._fresh_size += TAR_BLOCK
        content = entry.content
        if len(content) == 1 and isinstance(s := content[0], Deflated) and max(s.size, s.csize) <= inflating.WHOLE:
            self._short(s, entry.path)
            size, crc = s.size, s.crc32
        else:
            size, crc = self._content(entry)
        if size % TAR_BLOCK:
            self._fresh.append(padding(size))
        if self._fresh_size >= FRESH:
            self._flush()
        return identity(entry, size, crc)

    def end(self) -> None:
        """Write the end of the archive."""
        self._fresh.append(END)
        self._flush()

    def close(self) -> None:
        self._reader.close()

    # -- fresh bytes -------------------------------------------------------------------------------

    def _encoded(self) -> tuple[bytes, bytes]:
        """What is fresh, as one gzip member and as it is; nothing is no member."""
        fresh = self._fresh
        if not fresh:
            return b"", b""
        self._fresh, self._fresh_size = [], 0
        data = b"".join(fresh)
        trailer = _trailer(self._inflate.crc32(data), len(data) & _32_BITS)
        return b"".join((_MEMBER, deflate(*fresh), trailer)), data

    def _flush(self) -> None:
        member, data = self._encoded()
        self._blob.add(member)
        self._tar.add(data)

    # -- content -----------------------------------------------------------------------------------

    def _short(self, s: Deflated, path: str) -> None:
        """Write a stream that is all of a file: nearly all files of nearly all wheels."""
        member, fresh = self._encoded()
        try:
            raw, data = inflating.whole(self._inflate, self._reader, s)
        except (ValueError, EOFError, self._inflate.error) as e:
            raise self._corrupt(path, s, e) from None
        self._blob.add(b"".join((member, _MEMBER, raw, _trailer(s.crc32, s.size))))
        self._tar.add(fresh)
        self._tar.add(data)
        if s.hash is not None:
            expected = self._expected(path, s)
            if s.size <= _HASHED_HERE:
                expected.check(hashlib.new(s.hash[0], data).digest())
            else:
                self._verifier.extend([expected, data, None])

    def _content(self, entry: Entry) -> tuple[int, int]:
        """Write any content; its size and CRC-32."""
        size = crc = 0
        for segment in entry.content:
            if isinstance(segment, bytes):
                self._fresh.append(segment)
                self._fresh_size += len(segment)
                crc = self._inflate.crc32(segment, crc)
            else:
                self._flush()
                if segment.hash is not None:
                    self._verifier.add(self._expected(entry.path, segment))
                write = self._long if isinstance(segment, Deflated) else self._plain
                try:
                    crc = write(segment, crc)  # type: ignore[arg-type]
                except (ValueError, EOFError, self._inflate.error) as e:
                    raise self._corrupt(entry.path, segment, e) from None
                if segment.hash is not None:
                    self._verifier.add(None)
            size += len(segment) if isinstance(segment, bytes) else segment.size
        return size, crc

    def _long(self, s: Deflated, total: int) -> int:
        """Both forms of a DEFLATE stream; returns the CRC-32 ``total`` continued over it."""
        self._blob.add(_MEMBER)
        for raw, data in inflating.chunks(self._inflate, self._reader, s):
            self._blob.add(raw)
            total = self._plainly(data, s, total)
        self._blob.add(_trailer(s.crc32, s.size & _32_BITS))
        return total

    def _plain(self, s: Plain, total: int) -> int:
        """Stored blocks of bytes that lie uncompressed in a file; CRC-32 as for :meth:`_long`."""
        self._blob.add(_MEMBER)
        crc = at = 0
        while True:
            data = self._reader.read(s.path, s.offset + at, min(_STORED_CHUNK, s.size - at))
            total = self._plainly(data, s, total)
            crc = self._inflate.crc32(data, crc)
            for start in range(0, max(len(data), 1), BLOCK):
                block = data[start : start + BLOCK]
                self._blob.add(stored_block(len(block), final=at + start + BLOCK >= s.size) + block)
            at += len(data)
            if at >= s.size:
                break
        inflating.check(s, at, crc)
        self._blob.add(_trailer(crc, s.size & _32_BITS))
        return total

    def _plainly(self, data: bytes, s: Deflated | Plain, total: int) -> int:
        self._tar.add(data)
        if s.hash is not None:
            self._verifier.add(data)
        return self._inflate.crc32(data, total)

    # -- messages ----------------------------------------------------------------------------------

    def _artifact(self, s: Deflated | Plain) -> str:
        return self._names.get(s.path, s.path)

    def _expected(self, path: str, s: Deflated | Plain) -> Expected:
        assert s.hash is not None
        return Expected(s.hash, path, self._artifact(s))

    def _corrupt(self, path: str, s: Deflated | Plain, error: Exception) -> AssembleError:
        return AssembleError(f"`{path}`: {error}", self._artifact(s))


def identity(entry: Entry, size: int, crc: int) -> str:
    """What a listing says of ``entry``: see :class:`BlobResult`."""
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
    the tar stream as they are made, and stops it all by raising. Raises :class:`AssembleError` for content that
    is not what its segment says, and whatever ``out.write`` and reading raise. Memory does not depend on the
    input's size.
    """
    listing: dict[str, str] = {}
    blob, tar, verifier = Stream(out.write), Stream(progress=progress), Verifier()
    with blob, tar, verifier:
        writer = _Writer(blob, tar, verifier, inflate, names or {})
        try:
            for entry in entries:
                listing[entry.path] = writer.entry(entry)
            writer.end()
        finally:
            writer.close()
    return BlobResult(blob.digest, blob.size, tar.digest, tar.size, listing)
