"""What a killed launcher leaves in its run's folder, removed when the next run starts. Results and logs stay.

A run that ends by itself leaves none of it: so a run has something to remove where ``scratch`` is still there, and is
dead where nobody holds its lock.
"""

from __future__ import annotations

import os
from contextlib import suppress

from ..store.locks import try_acquire
from .removal import remove_left
from .storage import RunFolder, Storage

__all__ = ["sweep"]


def sweep(storage: Storage) -> None:
    """Tidy the folder of every run that was killed: tasks' temporary files, the socket, what was half written."""
    for scratch in storage.runs.glob("*/scratch"):
        with suppress(OSError):
            handle = try_acquire(scratch.with_name("lock"))
            if handle is None:
                continue
            try:
                _tidy(storage.run(scratch.parent.name))
            finally:
                os.close(handle)


def _tidy(folder: RunFolder) -> None:
    folder.socket.unlink(missing_ok=True)
    folder.facts.with_suffix(".tmp").unlink(missing_ok=True)
    # Only where no task can write is what has the door's kind of name the door's own.
    for ours in (folder.kept, folder.seen):
        for part in ours.rglob(f".{'[0-9a-f]' * 16}.part"):
            part.unlink(missing_ok=True)
    # Last: as long as it is there, the next run looks here again.
    remove_left(folder.scratch)
