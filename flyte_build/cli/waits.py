"""A word for who waits at a terminal, where nothing else is drawn yet: what goes on, once it has taken a moment.

It is gone when it is over. Nothing is imported for it and no clock is asked: what a user's file depends on is being
watched meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..kernel import tracing
from ..kernel.visible import visible
from .console import interactive, stderr

__all__ = ["telling"]

_MOMENT = 0.5


@contextmanager
def telling(words: str, *, quiet: bool = False) -> Iterator[None]:
    """``words`` stand on the terminal from half a second on until the block ends."""
    out = stderr()
    if quiet or tracing.active() or not interactive(out):
        yield
        return
    where, dim = out.file.fileno(), ("", "") if out.no_color else ("\x1b[2m", "\x1b[0m")
    line = visible(words)[: max(out.width - 2, 1)]
    over, told = threading.Event(), threading.Event()

    def tell() -> None:
        if not over.wait(_MOMENT):
            told.set()
            with suppress(OSError):
                os.write(where, f"{dim[0]}{line} …{dim[1]}".encode())

    thread = threading.Thread(target=tell, name="waits", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if told.is_set():
            with suppress(OSError):
                os.write(where, b"\r\x1b[K")
