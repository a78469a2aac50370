"""A process's standard streams: there when they were not, and silent when nobody takes what is written."""

from __future__ import annotations

import os
import sys

__all__ = ["open_streams", "silence"]


def open_streams() -> None:
    """Give a process that was started without standard streams some: or the first file it opens takes their place.

    What is written to an output that was closed fails, as it would have; nobody hears of errors.
    """
    for fd, name, mode, flags in (
        (0, "stdin", "r", os.O_RDONLY),
        (1, "stdout", "w", os.O_RDONLY),
        (2, "stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, flags)
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115 (for as long as the process lives)


def silence(fd: int = 1) -> None:
    """Let what still waits to be written to standard output (or error) go nowhere, and no longer fail."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, fd)
    os.close(null)
