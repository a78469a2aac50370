"""Sorted entries → blob, by the core: what is written here are the operations that it is fed.

An entry is a header and its content; ``c/pipeline.h`` has the operations. Whatever goes wrong, and whatever is too
rare for the core, ends in the same place: what was written is taken back, and Python's assembler does the layer from
the start. So errors are its errors, and there is no case in which the two could say different things.
"""

from __future__ import annotations

import ctypes
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import BinaryIO

from ..assemble.blob import GROUP, SEGMENT, BlobResult, Inflate, identity
from ..assemble.blob import write_blob as write_purely
from ..assemble.entries import Deflated, Entry, Plain
from ..assemble.inflating import JOINED
from ..assemble.tar import BLOCK, END, SMALL_ID, SMALL_SIZE, header, split
from .feeding import THREADS, Unfit, operation, position, results
from .library import core

__all__ = ["write_blob"]

_HEADER = struct.Struct("<BBHIIQBB").pack
_PIECE = struct.Struct("<BI").pack
_ZEROS = [b"\x03" + struct.pack("<H", n) for n in range(BLOCK)]
_FLUSH = b"\x04"
_TYPE = {"file": ord("0"), "hardlink": ord("1"), "symlink": ord("2"), "dir": ord("5")}
# Of a thread's work, that is enough for the next to begin.
_FED = 512 << 10
_FILES = 64


def write_blob(
    entries: Iterable[Entry],
    out: BinaryIO,
    *,
    inflate: Inflate = zlib,  # type: ignore[assignment]
    names: Mapping[str, str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> BlobResult:
    """As :func:`flyte_build.assemble.blob.write_blob`, by the core where it is there and ``out`` is a file.

    Where the core gives up, ``progress`` hears of the bytes of the tar stream from the start again.
    """
    library, there = core().library, position(out)
    if library is None or there is None:
        return write_purely(entries, out, inflate=inflate, names=names, progress=progress)
    ordered = list(entries)
    try:
        made = _Making(library, out, progress).run(ordered)
    except Unfit:
        out.seek(there)
        out.truncate()
        return write_purely(ordered, out, inflate=inflate, names=names, progress=progress)
    out.seek(there + made.size)
    return made


class _Making:
    """One layer on its way through the core."""

    def __init__(self, library: ctypes.CDLL, out: BinaryIO, progress: Callable[[int], object] | None) -> None:
        self._library, self._progress = library, progress
        self._core = library.core_open(out.fileno(), min(len(os.sched_getaffinity(0)), THREADS), None, 0)
        if not self._core:
            raise Unfit
        self._files: dict[str, int] = {}
        # Those of operations after the cut.
        self._unfed: set[str] = set()
        self._ops: list[bytes] = []
        # Up to here operations can be fed: what comes after belongs to a member that is not yet at its end.
        self._cut = 0
        # Bytes of the tar stream in the group, see `docs/deflate.md`.
        self._group = 0

    def run(self, entries: list[Entry]) -> BlobResult:
        """Feed all entries, and what came of it."""
        try:
            listing, late = self._entries(entries)
            return self._result(listing, late)
        except (struct.error, OSError):
            raise Unfit from None
        finally:
            self._library.core_close(self._core)
            for descriptor in self._files.values():
                os.close(descriptor)

    def _entries(self, entries: list[Entry]) -> tuple[dict[str, str], list[tuple[Entry, int]]]:
        """The listing, and the files in it (with their sizes) whose CRC-32 the core will tell, in this order."""
        listing: dict[str, str] = {}
        late: list[tuple[Entry, int]] = []
        ops, tar = self._ops, 0
        for entry in entries:
            content = entry.content
            size = entry.size if content else 0
            op, grown = _header(entry, size)
            self._begin(grown)
            ops.append(op)
            crc, known = 0, True
            for number, segment in enumerate(content):
                if isinstance(segment, bytes):
                    self._plainly(segment)
                    crc = zlib.crc32(segment, crc)
                elif number:
                    raise Unfit
                else:
                    known = segment.crc32 is not None
                    if not known and len(content) > 1:
                        raise Unfit
                    self._content(segment, len(late))
                    crc = segment.crc32 or 0
            if known:
                listing[entry.path] = identity(entry, size, crc)
            else:
                listing[entry.path] = ""
                late.append((entry, size))
            if size % BLOCK:
                ops.append(_ZEROS[-size % BLOCK])
                self._group += -size % BLOCK
            tar += grown + size + -size % BLOCK
            if tar >= _FED and self._cut:
                self._feed(tar)
                tar = 0
        ops += (_PIECE(2, len(END)), END)
        self._cut = len(ops)
        self._feed(tar + len(END))
        return listing, late

    def _begin(self, size: int) -> None:
        """Before a header or content of ``size`` bytes: a group that is large enough ends."""
        if self._group >= GROUP:
            self._flush()
        self._group += size

    def _flush(self) -> None:
        self._ops.append(_FLUSH)
        self._cut_here()

    def _cut_here(self) -> None:
        self._cut, self._group = len(self._ops), 0
        self._unfed.clear()

    def _plainly(self, data: bytes) -> None:
        if len(data) <= SEGMENT:
            self._begin(len(data))
            self._ops += (_PIECE(2, len(data)), data)
            return
        self._flush()
        for at in range(0, len(data), SEGMENT):
            piece = data[at : at + SEGMENT]
            self._ops += (_PIECE(2, len(piece)), piece)
            self._flush()

    def _content(self, s: Deflated | Plain, place: int) -> None:
        """The operation that ``s`` is; ``place`` is for its CRC-32, where that is not known."""
        shares = max(s.size, s.csize) <= JOINED if isinstance(s, Deflated) else s.size <= SEGMENT
        if shares:
            self._begin(s.size)
        descriptor = self._files.get(s.path)
        if descriptor is None:
            descriptor = self._open(s.path)
        self._ops.append(operation(s, descriptor, place))
        if shares:
            self._unfed.add(s.path)
        else:
            self._cut_here()

    def _open(self, path: str) -> int:
        if len(self._files) >= _FILES and self._cut:
            self._feed(0)
            if self._library.core_wait(self._core):
                raise Unfit
            for done in self._files.keys() - self._unfed:
                os.close(self._files.pop(done))
        return self._files.setdefault(path, os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def _feed(self, tar: int) -> None:
        """Hand over what can be; ``tar`` bytes of the tar stream are new since the last time."""
        ops = b"".join(self._ops[: self._cut])
        del self._ops[: self._cut]
        self._cut = 0
        if self._library.core_feed(self._core, ops, len(ops)):
            raise Unfit
        if tar and self._progress is not None:
            self._progress(tar)

    def _result(self, listing: dict[str, str], late: list[tuple[Entry, int]]) -> BlobResult:
        told = (ctypes.c_uint32 * len(late))()
        blob, size, tar, tar_size = results(self._library, self._core, told)
        for (entry, length), crc in zip(late, told, strict=True):
            listing[entry.path] = identity(entry, length, crc)
        return BlobResult(blob, size, tar, tar_size, listing)


def _header(entry: Entry, size: int) -> tuple[bytes, int]:
    """The operations of what precedes the content, and its bytes in the tar stream."""
    name, link = entry.path.encode(), entry.link.encode()
    if entry.kind == "dir":
        name += b"/"
    if (
        (len(name) <= 100 or (len(name) <= 255 and split(name) is not None))
        and len(link) <= 100
        and size <= SMALL_SIZE
        and max(entry.uid, entry.gid, entry.mode) <= SMALL_ID
        and name.isascii()
        and link.isascii()
        and not entry.xattrs
    ):
        op = _HEADER(1, _TYPE[entry.kind], entry.mode, entry.uid, entry.gid, size, len(name), len(link))
        return op + name + link, BLOCK
    pieces = header(entry)
    return b"".join([_PIECE(2, len(piece)) + piece for piece in pieces]), sum(map(len, pieces))
