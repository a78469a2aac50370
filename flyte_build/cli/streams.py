"""A process's standard streams: there when they were not, silent when nobody takes what is written, and without
commands where a CI's runner looks for some in every line."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["command", "guard", "obeyed", "open_streams", "silence"]


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


def obeyed() -> bool:
    """Whether somebody reads along who takes lines for commands: GitHub's runner, of both outputs."""
    return bool(os.environ.get("GITHUB_ACTIONS"))


class _Guarded:
    """A text stream; what is written to it is no command (see :func:`~flyte_build.kernel.visible.inert`)."""

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def write(self, text: str) -> int:
        from ..kernel.visible import inert

        self.unguarded.write(inert(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)


def guard() -> None:
    """Where lines would be obeyed: whatever this process writes from here on, those of :func:`command` only are.

    Names, error messages and what a task said are other people's words, whoever prints them.
    """
    if obeyed():
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, _Guarded):
                setattr(sys, name, _Guarded(stream))


def command(line: str) -> None:
    """Print a line that is meant for a CI's runner; the caller has escaped what is not its own in it."""
    out = sys.stdout
    (out.unguarded if isinstance(out, _Guarded) else out).write(line + "\n")
