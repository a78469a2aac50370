"""Advisory locks between threads and processes that share a store.

Every lock is flock(2) on a file of its own: the kernel lets go of it when its owner dies, however it dies, so
there is no stale lock and no process id to misread. Never holds data.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Busy", "acquire", "held", "try_acquire"]

# Seconds between looks: at first, and after a while.
_SOON, _POLL, _WHILE = 0.002, 0.05, 2.0


class Busy(Exception):
    """The lock was not free within the time given, or the wait was called off."""


def _open(path: Path, shared: bool) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as e:
        if shared and e.errno in (errno.EROFS, errno.EACCES):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        raise


def try_acquire(path: Path, *, shared: bool = False) -> int | None:
    """The lock's file descriptor, to be closed by the caller; ``None`` where someone else holds the lock."""
    handle = _open(path, shared)
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    return handle


def acquire(
    path: Path,
    *,
    shared: bool = False,
    timeout: float | None = None,
    cancelled: Callable[[], bool] | None = None,
    waiting: Callable[[], None] | None = None,
) -> int:
    """Wait for the lock and give its file descriptor; the caller closes it.

    ``timeout`` in seconds (``None``: for ever); ``cancelled`` is asked again and again while waiting;
    ``waiting`` is called once when there is something to wait for. Raises :class:`Busy`.
    """
    began = time.monotonic()
    deadline = None if timeout is None else began + timeout
    said = False
    while (handle := try_acquire(path, shared=shared)) is None:
        if (cancelled is not None and cancelled()) or (deadline is not None and time.monotonic() >= deadline):
            raise Busy(str(path))
        if waiting is not None and not said:
            said = True
            waiting()
        # Polled, not blocked: a thread inside flock(2) would not hear that the build was called off.
        time.sleep(_POLL if time.monotonic() - began > _WHILE else _SOON)
    return handle


@contextmanager
def held(
    path: Path,
    *,
    shared: bool = False,
    timeout: float | None = None,
    cancelled: Callable[[], bool] | None = None,
    waiting: Callable[[], None] | None = None,
) -> Iterator[None]:
    """:func:`acquire` for the time of a ``with`` block."""
    handle = acquire(path, shared=shared, timeout=timeout, cancelled=cancelled, waiting=waiting)
    try:
        yield
    finally:
        os.close(handle)
