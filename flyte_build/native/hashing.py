"""The SHA-256 of a whole file in one call, which needs the interpreter's lock at its ends only.

A thread that hashes piece by piece asks for that lock hundreds of times, and waits up to five milliseconds each time
for one that loads modules.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

from .library import core

__all__ = ["whole_file"]


def whole_file() -> Callable[[Path], str] | None:
    """What hashes a file, to hex, and raises ``OSError``; ``None`` where the core is not there."""
    library = core().library
    if library is None:
        return None
    hashing = library.core_hash

    def hash_file(path: Path) -> str:
        out = ctypes.create_string_buffer(32)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            number = hashing(descriptor, out)
        finally:
            os.close(descriptor)
        if number:
            raise OSError(number, os.strerror(number), os.fspath(path))
        return out.raw.hex()

    return hash_file
