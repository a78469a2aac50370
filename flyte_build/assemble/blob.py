"""Sorted entries → one tar stream and one gzip blob, hashed as they are made. The hot loop of the project.

The blob is gzip of many members (RFC 1952, 2.2), as ``docs/deflate.md`` has it: fresh bytes (headers, padding,
scripts, what lies uncompressed) are blocks made by our own encoder, and each DEFLATE stream that lies in a wheel is
taken over as it is (law 4): small ones share a member with what is around them, others are members. The tar stream is
only hashed, for the diff_id. This thread makes headers, encodes and inflates, others hash and write. (Inflating in
threads of its own was measured too: with short streams, the interpreter lock takes what it gives.)
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import BinaryIO, NamedTuple

from . import inflating
from .byte_ranges import Reader
from .deflate import END as LAST_BLOCK
from .deflate import deflate
from .entries import Deflated, Entry, Plain
from .errors import AssembleError
from .inflating import JOINED, WHOLE, Inflate
from .streams import Expected, Stream, Verifier
from .tar import BLOCK as TAR_BLOCK
from .tar import END, header, padding

__all__ = ["GROUP", "SEGMENT", "BlobResult", "Inflate", "identity", "write_blob"]

# RFC 1952, 2.3: deflate, no flags, no mtime, no extra flags, unknown operating system.
_MEMBER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_trailer = struct.Struct("<II").pack
_32_BITS = 0xFFFFFFFF
GROUP = 256 << 10
"""Bytes of the tar stream after which, at the next header or content, a new member begins."""
SEGMENT = 256 << 10
"""What lies uncompressed and is longer is members of its own, each of so many bytes; the rest is like fresh bytes."""
# Telling another thread takes longer than hashing this many bytes.
_HASHED_HERE = 64 << 10


class BlobResult(NamedTuple):
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
        self._reader = Reader()
        # The member: its parts so far, the CRC-32 and the size of what they hold; then what is fresh and not yet one.
        self._member: list[bytes] = []
        self._crc = self._size = 0
        self._fresh: list[bytes] = []
        self._group = 0

    def entry(self, entry: Entry) -> str:
        """Write ``entry``; returns its identity."""
        self._add_fresh(*header(entry))
        size, crc = self._content(entry)
        if size % TAR_BLOCK:
            self._fresh.append(padding(size))
            self._group += -size % TAR_BLOCK
        return identity(entry, size, crc)

    def end(self) -> None:
        """Write the end of the archive."""
        self._fresh.append(END)
        self._flush()

    def close(self) -> None:
        self._reader.close()

    # -- members -----------------------------------------------------------------------------------

    def _begin(self, size: int) -> None:
        """Before a header or content of ``size`` bytes: a group that is large enough ends."""
        if self._group >= GROUP:
            self._flush()
        self._group += size

    def _add_fresh(self, *pieces: bytes) -> None:
        self._begin(sum(map(len, pieces)))
        self._fresh += pieces

    def _add(self, part: bytes, data: bytes) -> None:
        self._member.append(part)
        self._crc = self._inflate.crc32(data, self._crc)
        self._size += len(data)
        self._tar.add(data)

    def _encode(self, *, last: bool) -> None:
        """What is fresh, if anything is, becomes a part of the member."""
        if self._fresh:
            self._add(deflate(*self._fresh, last=last), b"".join(self._fresh))
            self._fresh = []
        elif last:
            self._member.append(LAST_BLOCK)

    def _flush(self) -> None:
        """End the group, and its member, if there is one."""
        self._group = 0
        if not self._fresh and not self._member:
            return
        self._encode(last=True)
        self._blob.add(b"".join((_MEMBER, *self._member, _trailer(self._crc, self._size))))
        self._member, self._crc, self._size = [], 0, 0

    # -- content -----------------------------------------------------------------------------------

    def _content(self, entry: Entry) -> tuple[int, int]:
        """Write any content; its size and CRC-32."""
        size = crc = 0
        for segment in entry.content:
            if isinstance(segment, bytes):
                self._plainly(segment)
                crc = self._inflate.crc32(segment, crc)
                size += len(segment)
                continue
            write = self._deflated if isinstance(segment, Deflated) else self._plain
            try:
                crc = write(segment, entry.path, crc)  # type: ignore[arg-type]
            except (ValueError, EOFError, self._inflate.error) as e:
                raise self._corrupt(entry.path, segment, e) from None
            size += segment.size
        return size, crc

    def _plainly(self, data: bytes) -> None:
        """Bytes as they are: fresh ones like any other, or members of their own."""
        if len(data) <= SEGMENT:
            self._add_fresh(data)
            return
        self._flush()
        for at in range(0, len(data), SEGMENT):
            self._fresh.append(data[at : at + SEGMENT])
            self._flush()

    def _plain(self, s: Plain, path: str, before: int) -> int:
        """What lies uncompressed in a file; returns the CRC-32 ``before`` continued over it."""
        if s.size > SEGMENT:
            self._flush()
        if s.hash is not None:
            self._verifier.add(self._expected(path, s))
        total, crc, at = before, 0, 0
        while at < s.size or not at:
            data = self._reader.read(s.path, s.offset + at, min(SEGMENT, s.size - at))
            crc = self._inflate.crc32(data, crc)
            total = self._inflate.crc32(data, total) if before else crc
            if s.hash is not None:
                self._verifier.add(data)
            self._add_fresh(data)
            if s.size > SEGMENT:
                self._flush()
            at += len(data)
            if not data:
                break
        inflating.check(s, at, crc)
        if s.hash is not None:
            self._verifier.add(None)
        return total

    def _deflated(self, s: Deflated, path: str, before: int) -> int:
        """A stream that lies in a file; returns the CRC-32 ``before`` continued over its content."""
        largest = max(s.size, s.csize)
        both = None
        if largest <= JOINED:
            self._begin(s.size)
            both = inflating.joined(self._inflate, self._reader, s)
        if both is not None:
            self._encode(last=False)
            self._add(*both)
        elif largest > WHOLE:
            return self._long(s, path, before)
        else:
            both = inflating.whole(self._inflate, self._reader, s)
            group = self._group
            self._flush()
            self._blob.add(b"".join((_MEMBER, both[0], _trailer(s.crc32, s.size))))
            self._tar.add(both[1])
            if largest <= JOINED:
                self._group = group
        data = both[1]
        if s.hash is not None:
            expected = self._expected(path, s)
            if s.size <= _HASHED_HERE:
                expected.check(hashlib.new(s.hash[0], data).digest())
            else:
                self._verifier.extend([expected, data, None])
        return s.crc32 if not before else self._inflate.crc32(data, before)

    def _long(self, s: Deflated, path: str, before: int) -> int:
        """A stream that is not inflated in one piece."""
        self._flush()
        if s.hash is not None:
            self._verifier.add(self._expected(path, s))
        total = before
        self._blob.add(_MEMBER)
        for raw, data in inflating.chunks(self._inflate, self._reader, s):
            self._blob.add(raw)
            self._tar.add(data)
            if s.hash is not None:
                self._verifier.add(data)
            if before:
                total = self._inflate.crc32(data, total)
        self._blob.add(_trailer(s.crc32, s.size & _32_BITS))
        if s.hash is not None:
            self._verifier.add(None)
        return total if before else s.crc32

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
