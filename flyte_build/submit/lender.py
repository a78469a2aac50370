"""A process that borrows bytecode for layers (see ``lending``), forked of one that unpacks them.

Reading what is lent is Python's from end to end, and so are the links of a root: in one process the two wait for each
other, a whole turn of the interpreter at each system call. It is asked for one layer at a time, by its folder, and ends
when nobody asks any more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NoReturn

from .lending import borrow, read_ahead

__all__ = ["Borrow", "lender"]

Borrow = Callable[[Path, Path], Mapping[str, str] | None]
"""What :func:`~.lending.borrow` is."""


@contextmanager
def lender() -> Iterator[Borrow]:
    """:func:`~.lending.borrow`, by another process; by this one where that has ended. Not for two threads at once.

    To be called where no other thread runs, and before any lock is held.
    """
    (asked, ask), (answers, answer) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(ask)
            os.close(answers)
            _serve(os.fdopen(asked, "rb"), os.fdopen(answer, "wb"))
        finally:
            os._exit(1)
    os.close(asked)
    os.close(answer)
    with os.fdopen(ask, "wb") as asks, os.fdopen(answers, "rb") as found:

        def borrowed(layer: Path, locks: Path) -> Mapping[str, str] | None:
            with suppress(OSError, ValueError):
                asks.write(json.dumps([os.fspath(layer), os.fspath(locks)]).encode() + b"\n")
                asks.flush()
                told: Mapping[str, str] | None = json.loads(found.readline())
                return told
            return borrow(layer, locks)

        try:
            yield borrowed
        finally:
            with suppress(OSError):
                asks.close()
            os.waitpid(pid, 0)


def _serve(asked: BinaryIO, answer: BinaryIO) -> NoReturn:
    # Beside what is unpacked first.
    read_ahead()
    for line in asked:
        layer, locks = map(Path, json.loads(line))
        answer.write(json.dumps(borrow(layer, locks)).encode() + b"\n")
        answer.flush()
    os._exit(0)
