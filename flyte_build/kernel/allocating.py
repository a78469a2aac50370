"""Memory in a process that soon ends: how seldom it is looked for what nobody needs, and how little is kept for later.

Both are for commands of ours, and nothing that is imported elsewhere does them by itself.
"""

from __future__ import annotations

import os

__all__ = ["frugal", "seldom_collected"]

# New objects, less those that are gone, before Python looks for circles among them: 700 by default. What imports make
# stays, and looking through it again and again is a tenth of their time.
_OBJECTS = 50_000
# Of glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# Bytes: what glibc begins with for both, and raises with every large block that is freed as long as nobody says so.
_THRESHOLD = 128 << 10


def seldom_collected() -> None:
    """Python's collector of garbage works some fifty times as seldom as by default."""
    import gc

    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])


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
