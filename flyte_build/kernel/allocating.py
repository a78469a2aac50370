"""Memory in a process that soon ends: how little of it is kept for later.

For commands of ours; nothing that is imported elsewhere does it by itself.
"""

from __future__ import annotations

import os

__all__ = ["frugal"]

# Of glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# Bytes: what glibc begins with for both, and raises with every large block that is freed as long as nobody says so.
_THRESHOLD = 128 << 10


def frugal() -> None:
    """glibc has one arena for all threads that begin after this, and gives back what is free.

    Of its own it gives an arena to every thread, and what one of them has freed serves no other; a build's threads take
    turns with the interpreter anyway. Nothing happens elsewhere than on glibc, nor where the environment says how it is
    to allocate (``MALLOC_ARENA_MAX`` and its like).
    """
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return
    except (ValueError, AttributeError, OSError):
        return
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for option, value in ((_ARENA_MAX, 1), (_TRIM_THRESHOLD, _THRESHOLD), (_MMAP_THRESHOLD, _THRESHOLD)):
        mallopt(option, value)
