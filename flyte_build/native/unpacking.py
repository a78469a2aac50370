"""A layer's blob → its files, by the core, for layers that hold nothing unusual; all others are Python's to unpack.

``flyte_build.submit.unpack`` is the law: whatever the core finds wrong, or does not take, ends in its turn.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

from .library import core

__all__ = ["unpack"]

_FILE = struct.Struct("<QQqQ32s")


class _Result(ctypes.Structure):
    _fields_ = (
        ("tar", ctypes.c_ubyte * 32),
        ("tar_size", ctypes.c_uint64),
        ("files", ctypes.c_void_p),
        ("count", ctypes.c_uint64),
    )


def unpack(blob: Path, diff_id: str, into: Path, limit: int) -> dict[int, tuple[str, str]] | None:
    """Unpack a layer's blob (tar in gzip, with this diff_id, of at most ``limit`` bytes) into the empty ``into``.

    Gives how each file lies now (``MODE INODE SIZE MTIME``) and the SHA-256 in hex of what was written to it, by inode.
    ``None``: it is to be done without the core, and anything may be in ``into``. Other threads go on meanwhile. Raises
    ``OSError`` where either cannot be opened.
    """
    library = core().library
    if library is None:
        return None
    result = _Result()
    source = os.open(blob, os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(into, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if library.core_unpack(source, target, limit, ctypes.byref(result)):
                return None
        finally:
            os.close(target)
    finally:
        os.close(source)
    try:
        if f"sha256:{bytes(result.tar).hex()}" != diff_id:
            return None
        written = ctypes.string_at(result.files, result.count * _FILE.size) if result.count else b""
        return {
            inode: (f"{mode:o} {inode} {size} {mtime}", digest.hex())
            for inode, size, mtime, mode, digest in _FILE.iter_unpack(written)
        }
    finally:
        library.core_unpacked(ctypes.byref(result))
