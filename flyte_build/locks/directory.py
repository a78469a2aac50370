"""One writer at a time in a folder of locks: what one build pins, another that ends in the same moment does not lose.

The lock is flock(2) on the folder itself, so nothing is left in a folder that is committed, and the kernel lets go of
it when its holder dies. Held for one read and one write, never while anything is resolved, fetched or built. What a
killed writer left half written is removed by the next.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..kernel.errors import StoreError

__all__ = ["check_place", "unwritten", "writing"]


def unwritten(directory: Path, what: str, error: OSError) -> StoreError:
    """That ``what`` cannot be written to ``directory``."""
    from ..kernel.outputs import FULL, why

    if error.errno in FULL:
        return StoreError(
            f"{directory}: {what} cannot be written: {error.strerror}",
            hint="make room, or give a folder that you may write to with --lockfiles",
        )
    return StoreError(
        f"{directory}: {what} cannot be written: {why(error, directory)}",
        hint="give a folder that you may write to with --lockfiles, or as `lockfiles` in [tool.flyte-build]",
    )


def check_place(directory: Path) -> None:
    """Raise :class:`StoreError` where the folder is not there and surely cannot be made: before versions are chosen."""
    from ..kernel.outputs import certain

    if not directory.exists() and (error := certain(directory)) is not None:
        raise unwritten(directory, "the locks", error)


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Hold ``directory`` for the time of a ``with`` block; waits for whoever holds it.

    A folder that is not there yet, or whose file system knows no such locks (some network ones), is not held: every
    file is still replaced whole, and only what two writers do in the same moment can be lost.
    """
    handle: int | None = None
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(handle, fcntl.LOCK_EX)
    _sweep(directory)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _sweep(directory: Path) -> None:
    with suppress(OSError):
        hidden = [entry for entry in os.listdir(directory) if entry.startswith(".")]
        if hidden:
            from ..kernel.scratch import PREFIX, sweep

            for entry in hidden:
                name, mark, _ = entry.partition(PREFIX)
                if mark:
                    sweep(directory, name)
