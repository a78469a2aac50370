"""Finding and loading the core's library, which has to give known answers before it is used.

Never builds anything: that is ``python -m flyte_build.native build``.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from pathlib import Path

from ..kernel.digests import sha256
from ..kernel.errors import InputError
from ..kernel.values import dataclass
from .naming import MACHINES
from .naming import library as library_path

__all__ = ["ABI", "VARIABLE", "Core", "core", "load"]

ABI = 6
VARIABLE = "FLYTE_BUILD_CORE"
_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
# Three literals, a match of six, in fixed codes.
_STREAM, _CONTENT = bytes.fromhex("4b4c4a4e042300"), b"abcabcabc"
_ENCODED = "8ca6f70f1281b2ac5c3579d67196eab425d95a05a75c0100b17b087b1839edcd"


@dataclass(frozen=True, slots=True)
class Core:
    """Which assembler works here: ``library`` is the core's functions, or ``None`` and ``why`` Python does it."""

    library: ctypes.CDLL | None
    why: str = ""

    def __str__(self) -> str:
        return "native core" if self.library is not None else f"pure Python: {self.why}"


def core() -> Core:
    """The core, as ``$FLYTE_BUILD_CORE`` wants it: ``auto`` (the default), ``pure`` or ``native``.

    Raises :class:`InputError` for another value, and where ``native`` is wanted and not there.
    """
    wanted = os.environ.get(VARIABLE, "").strip().lower() or "auto"
    if wanted not in ("auto", "pure", "native"):
        raise InputError(
            f"{VARIABLE}: expected auto, pure or native, found `{wanted}`", hint="leave it unset for the default, auto"
        )
    if wanted == "pure":
        return Core(None, f"{VARIABLE}=pure")
    found = _found()
    if wanted == "native" and found.library is None:
        raise InputError(
            f"{VARIABLE}=native, and there is no native core: {found.why}",
            hint=f"unset {VARIABLE}: everything works without it, slower; or build it, see docs/core.md",
        )
    return found


@functools.cache
def _found() -> Core:
    if sys.platform != "linux":
        return Core(None, f"the core is for Linux, this is {sys.platform}")
    if os.uname().machine not in MACHINES:
        return Core(None, f"the core is for {' and '.join(MACHINES)}, this is {os.uname().machine}")
    try:
        path = library_path()
    except OSError as e:
        return Core(None, f"the core's sources cannot be read: {e}")
    return load(path) if path.is_file() else Core(None, "the core was not built here")


def load(path: Path) -> Core:
    """The core in the library at ``path``, if it is one that gives the right answers."""
    try:
        library = ctypes.CDLL(os.fspath(path))
        _declare(library)
    except (OSError, AttributeError) as e:
        return Core(None, f"the core cannot be loaded: {e}")
    wrong = _wrong(library)
    return Core(None, f"the core is broken: {wrong}") if wrong else Core(library)


def _declare(library: ctypes.CDLL) -> None:
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for function, result, arguments in (
        ("core_abi", number, ()),
        ("core_open", pointer, (number, number, pointer, size)),
        ("core_feed", number, (pointer, ctypes.c_char_p, size)),
        ("core_wait", number, (pointer,)),
        ("core_went", ctypes.c_int64, (pointer, ctypes.c_uint64)),
        ("core_hashes", None, (pointer, pointer)),
        ("core_results", number, (pointer, pointer, pointer, size)),
        ("core_close", None, (pointer,)),
        ("core_rest", None, ()),
        ("core_inflate", number, (pointer, size, pointer, size, size)),
        ("core_hash", number, (number, pointer)),
        ("core_sha256", None, (ctypes.c_char_p, size, size, pointer)),
        ("core_crc32", ctypes.c_uint32, (ctypes.c_uint32, ctypes.c_char_p, size)),
        ("core_encode", size, (ctypes.c_char_p, size, pointer)),
        ("core_unpack", number, (number, number, ctypes.c_uint64, pointer)),
        ("core_unpacked", None, (pointer,)),
        ("core_lie", number, (number, pointer, pointer)),
        ("core_lay", None, (pointer,)),
        ("layout_open", pointer, ()),
        ("layout_wheel", number, (pointer, number, ctypes.c_char_p, size, number, pointer)),
        ("layout_add", number, (pointer, ctypes.c_char_p, size, number, *(ctypes.c_char_p, size) * 2)),
        ("layout_arrange", number, (pointer, ctypes.c_char_p, size)),
        ("layout_feed", number, (pointer, pointer)),
        ("layout_listing", pointer, (pointer, pointer)),
        ("layout_close", None, (pointer,)),
    ):
        found = getattr(library, function)
        found.restype, found.argtypes = result, arguments


def _wrong(library: ctypes.CDLL) -> str:
    """What the library does not do right; empty where it does."""
    if library.core_abi() != ABI:
        return f"expected version {ABI} of its interface, found {library.core_abi()}"
    hashed = ctypes.create_string_buffer(64)
    library.core_sha256(b"abc", 3, 3, hashed)
    if hashed.raw.hex() != 2 * _ABC:
        return "its SHA-256 of `abc` is not the standard's"
    if library.core_crc32(0, b"123456789", 9) != 0xCBF43926:
        return "its CRC-32 of `123456789` is not the standard's"
    stream, content = ctypes.create_string_buffer(_STREAM, 128), ctypes.create_string_buffer(len(_CONTENT) + 384)
    good = library.core_inflate(stream, len(_STREAM), content, len(_CONTENT), 0)
    if not (good and content.raw.startswith(_CONTENT)):
        return "it does not inflate"
    fresh = b"".join(b"%d bytes, " % n for n in range(500))
    member = ctypes.create_string_buffer(2 * len(fresh))
    made = library.core_encode(fresh, len(fresh), member)
    right = sha256(member.raw[10 : made - 8]).hexdigest() == _ENCODED
    return "" if right else "it does not encode as docs/deflate.md has it"
