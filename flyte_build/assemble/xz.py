"""xz streams, decompressed in bounded memory.

A stream's header says how much memory its reader needs, up to 4 GiB for a few bytes, and ``lzma.LZMAFile`` gives it
that. Here a stream may ask for no more than :data:`MEMORY`. Never decides how much may come out: its caller does.
"""

from __future__ import annotations

import io
import lzma
from typing import BinaryIO

__all__ = ["MEMORY", "TooMuchMemory", "XzReader"]

MEMORY = 200 << 20
"""Bytes that reading a stream may take. The largest preset, ``xz -9``, takes 65 MiB; Debian's packages are below it."""

_CHUNK = 1 << 16


class TooMuchMemory(lzma.LZMAError):
    """A stream asks for more than :data:`MEMORY`."""

    def __init__(self) -> None:
        super().__init__(
            f"expected to unpack in at most {MEMORY >> 20} MiB of memory, found a stream that asks for more"
        )


class XzReader(io.RawIOBase):
    """What the xz streams in ``source`` hold, one after the other, as xz(1) and dpkg read them.

    Reading raises ``lzma.LZMAError`` for what is no xz stream, behind a first one, too, and :class:`TooMuchMemory`;
    ``EOFError`` for one that is cut off.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._inner = _decompressor()
        self._held = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes, some unless it is the end."""
        if size < 0:
            return self.readall()
        while True:
            if self._inner.eof and not self._next():
                return b""
            data, self._held = self._held, b""
            if self._inner.needs_input and not data:
                data = self._source.read(_CHUNK)
                if not data:
                    raise EOFError("it ends before its stream does")
            if found := self._decompress(data, size):
                return found

    def _decompress(self, data: bytes, size: int) -> bytes:
        try:
            return self._inner.decompress(data, size)
        except lzma.LZMAError as e:
            # liblzma's LZMA_MEMLIMIT_ERROR has no class of its own in Python.
            if str(e).startswith("Memory usage limit"):
                raise TooMuchMemory from None
            raise

    def _next(self) -> bool:
        """Begin the next stream, behind zeros that pad this one; False at the end of all."""
        rest = self._inner.unused_data.lstrip(b"\0")
        while not rest:
            data = self._source.read(_CHUNK)
            if not data:
                return False
            rest = data.lstrip(b"\0")
        self._inner, self._held = _decompressor(), rest
        return True


def _decompressor() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)
