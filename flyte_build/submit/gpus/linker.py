"""The dynamic linker's cache (ld.so.cache of glibc's dl-cache.h, the format since 2.2) read, and with libraries added.

Bytes of an image are a stranger's: what is no cache has no libraries. Writing is the assembler's (see ``assemble``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...assemble.ldcache import Library

__all__ = ["LARGEST", "added", "machine_flags", "read"]

LARGEST = 16 << 20
_MAGIC = b"glibc-ld.so.cache1.1"
# The old format's header, before which old systems' caches have it: magic, count; its entries are three words each.
_OLD, _OLD_ENTRY = b"ld.so-1.7.0\0", 12
_HEADER, _ENTRY = struct.Struct("<20sIIB3xI12x"), struct.Struct("<iIIIQ")
_FLAGS = {"x86_64": 0x0303, "aarch64": 0x0A03}


def machine_flags(machine: str) -> int:
    """The flags of libraries for ``machine`` (``uname -m``); 0 for one that is not known here."""
    return _FLAGS.get(machine, 0)


def read(data: bytes) -> list[Library]:
    """The libraries of a cache, in its order; none for what is no cache, or is torn."""
    # Every run asks for GPUs, and most machines have none: the assembler is not imported for that.
    from ...assemble.ldcache import Library

    try:
        base = 0
        if data.startswith(_OLD):
            (count,) = struct.unpack_from("<I", data, len(_OLD))
            base = (len(_OLD) + 4 + count * _OLD_ENTRY + 7) & ~7
        magic, count, *_ = _HEADER.unpack_from(data, base)
        if magic != _MAGIC:
            return []
        found = []
        for number in range(count):
            flags, key, value, _, hwcap = _ENTRY.unpack_from(data, base + _HEADER.size + number * _ENTRY.size)
            name, path = _text(data, base + key), _text(data, base + value)
            # Of the variants for newer processors none is told on: the linker takes the plain one.
            if hwcap == 0 and path.startswith("/") and path.endswith(f"/{name}"):
                found.append(Library(name, path, flags, name))
        return found
    except (struct.error, ValueError, OverflowError):
        return []


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()


def added(cache: bytes, libraries: Iterable[Library]) -> bytes:
    """``cache`` with ``libraries`` in it, which are found before those of their names."""
    from ...assemble.ldcache import cache_bytes

    return cache_bytes([*libraries, *read(cache)])
