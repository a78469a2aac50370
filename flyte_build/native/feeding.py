"""What both ways into the core share: whether there is one, an operation on what lies in a file, and what came of it.

Imports nothing of Python's own encoder, which takes longer to load than the core to make a small layer.
"""

from __future__ import annotations

import ctypes
import io
import os
import stat
import struct
from typing import TYPE_CHECKING, BinaryIO

from .library import core

if TYPE_CHECKING:
    from ..assemble.entries import Deflated, Plain

__all__ = ["THREADS", "Unfit", "operation", "position", "rest", "results"]

_DEFLATED = struct.Struct("<BBIQQQI").pack
_PLAIN = struct.Struct("<BBIQQII").pack
_HAS_HASH, _HAS_CRC, _TELL_CRC = 1, 2, 4
THREADS = 4


class Unfit(Exception):
    """The core failed, or has no operation for what there is: Python's turn."""


class _Result(ctypes.Structure):
    _fields_ = (
        ("blob", ctypes.c_ubyte * 32),
        ("tar", ctypes.c_ubyte * 32),
        ("blob_size", ctypes.c_uint64),
        ("tar_size", ctypes.c_uint64),
    )


def position(out: BinaryIO) -> int | None:
    """Where ``out`` is to be written, if it is a file that can be written again from there."""
    try:
        out.flush()
        return out.tell() if stat.S_ISREG(os.fstat(out.fileno()).st_mode) else None
    except (OSError, AttributeError, io.UnsupportedOperation):
        return None


def operation(s: Deflated | Plain, descriptor: int, place: int = 0) -> bytes:
    """The operation that ``s`` is, in the file open as ``descriptor``; raises :class:`Unfit` where there is none."""
    from ..assemble.entries import Deflated

    flags, hashed = 0, b""
    if s.hash is not None:
        algorithm, hashed = s.hash
        if algorithm != "sha256":
            raise Unfit
        flags = _HAS_HASH
    if isinstance(s, Deflated):
        return _DEFLATED(5, flags, descriptor, s.offset, s.csize, s.size, s.crc32) + hashed
    flags |= _TELL_CRC if s.crc32 is None else _HAS_CRC
    return _PLAIN(6, flags, descriptor, s.offset, s.size, s.crc32 or 0, place) + hashed


def results(library: ctypes.CDLL, made: int, told: ctypes.Array[ctypes.c_uint32]) -> tuple[str, int, str, int]:
    """Digest and size of the blob and of the tar stream, once the core ``made`` has done all that it was fed.

    ``told`` are then the CRC-32 that it found. Raises :class:`Unfit`.
    """
    result = _Result()
    if library.core_wait(made) or library.core_results(made, ctypes.byref(result), told, len(told)):
        raise Unfit
    blob, tar = bytes(result.blob).hex(), bytes(result.tar).hex()
    return f"sha256:{blob}", result.blob_size, f"sha256:{tar}", result.tar_size


def rest() -> None:
    """The core has nothing to do for now: what memory it keeps for the next layer is given back."""
    if (library := core().library) is not None:
        library.core_rest()
