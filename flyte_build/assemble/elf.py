"""Reads out of a shared library what ``ldconfig`` wants to know: its machine and its soname.

The System V ABI, "Object Files" and "Dynamic Linking", is the rule. Only headers, the dynamic section and
one string are read, whatever the library's size. Nothing is loaded or run, and a file that is not a
well-formed shared library is simply none: linker scripts and text files are often named like one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["AARCH64", "I386", "X86_64", "ReadAt", "SharedObject", "shared_object"]

# Bytes at an offset of the file: fewer than asked for at its end.
ReadAt: TypeAlias = Callable[[int, int], bytes]

I386, X86_64, AARCH64 = 3, 62, 183

_ET_DYN = 3
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_STRTAB, _DT_SONAME = 5, 14
_MAX_DYNAMIC = 1 << 16
_MAX_SONAME = 1 << 12


@dataclass(frozen=True, slots=True)
class SharedObject:
    """``machine`` is ``e_machine``, ``bits`` 32 or 64, ``soname`` ``None`` where the library has none."""

    machine: int
    bits: int
    soname: str | None


def shared_object(read_at: ReadAt) -> SharedObject | None:
    """The shared library behind ``read_at``, or ``None`` when it is none."""
    try:
        return _parse(read_at)
    except (struct.error, UnicodeDecodeError):
        return None


def _parse(read_at: ReadAt) -> SharedObject | None:
    ident = read_at(0, 16)
    if len(ident) < 16 or ident[:4] != b"\x7fELF" or ident[4] not in (1, 2) or ident[5] not in (1, 2):
        return None
    wide = ident[4] == 2
    order = "<" if ident[5] == 1 else ">"
    header = struct.Struct(order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"))
    kind, machine, _, _, phoff, _, _, _, phentsize, phnum, *_ = header.unpack(read_at(16, header.size))
    if kind != _ET_DYN:
        return None
    segment = struct.Struct(order + ("IIQQQQQQ" if wide else "IIIIIIII"))
    if phentsize != segment.size:
        return None
    loads: list[tuple[int, int, int]] = []
    dynamic: tuple[int, int] | None = None
    table = read_at(phoff, phnum * segment.size)
    for row in segment.iter_unpack(table[: phnum * segment.size]):
        # The flags stand second in 64-bit headers and seventh in 32-bit ones.
        offset, vaddr, filesz = (row[2], row[3], row[5]) if wide else (row[1], row[2], row[4])
        if row[0] == _PT_LOAD:
            loads.append((vaddr, offset, filesz))
        elif row[0] == _PT_DYNAMIC:
            dynamic = (offset, filesz)
    if dynamic is None:
        return None
    tags = struct.Struct(order + ("qQ" if wide else "iI"))
    size = min(dynamic[1], _MAX_DYNAMIC) // tags.size * tags.size
    found: dict[int, int] = {}
    for tag, value in tags.iter_unpack(read_at(dynamic[0], size)):
        if tag == 0:
            break
        found.setdefault(tag, value)
    bits = 64 if wide else 32
    if _DT_STRTAB not in found:
        return None
    if _DT_SONAME not in found:
        return SharedObject(machine, bits, None)
    strings = found[_DT_STRTAB]
    for vaddr, offset, filesz in loads:
        if vaddr <= strings < vaddr + filesz:
            raw = read_at(strings - vaddr + offset + found[_DT_SONAME], _MAX_SONAME)
            soname, end, _ = raw.partition(b"\0")
            return SharedObject(machine, bits, soname.decode("utf-8") or None) if end else None
    return None
