"""How the entries of a tree lie, by the core: the text that ``store.sealed`` makes, which is the law, sooner."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from .library import core

__all__ = ["lie"]


def lie(tree: Path) -> bytes | None:
    """``PATH NUL MODE INODE SIZE MTIME`` of every entry, a line each; ``None``: it is to be found without the core.

    Raises ``OSError`` where the tree is no folder that can be opened.
    """
    library = core().library
    if library is None:
        return None
    top = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    text, size = ctypes.c_void_p(), ctypes.c_size_t()
    try:
        if not library.core_lie(top, ctypes.byref(text), ctypes.byref(size)):
            return None
    finally:
        os.close(top)
    try:
        return ctypes.string_at(text, size.value)
    finally:
        library.core_lay(text)
