"""Temporary folders and files that a killed process does not leave for ever: whoever makes the next one removes them.

Each is locked (flock(2), on itself) for as long as its process lives, so what can be locked belongs to nobody any
more, however old or young it is. Only what has our own prefix and our own owner is looked at.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .files import remove_tree

__all__ = ["PREFIX", "scratch", "scratch_file", "sweep"]

PREFIX = ".flyte-build-scratch-"


@contextmanager
def scratch(parent: Path | None = None, name: str = "") -> Iterator[Path]:
    """A new folder in ``parent`` (default: the system's temporary folder), removed at the end where it is still there.

    ``name`` is put before our prefix. Raises :class:`OSError`.
    """
    import tempfile

    parent = parent if parent is not None else Path(tempfile.gettempdir())
    sweep(parent, name)
    while True:
        path = Path(tempfile.mkdtemp(prefix=name + PREFIX, dir=parent))
        handle = _owned(path)
        if handle is not None:
            break
    try:
        yield path
    finally:
        remove_tree(path)
        os.close(handle)


@contextmanager
def scratch_file(parent: Path, name: str = "") -> Iterator[tuple[Path, int]]:
    """A new file in ``parent`` and a descriptor to write it by, which the caller closes; as :func:`scratch`."""
    import tempfile

    sweep(parent, name)
    while True:
        writing, made = tempfile.mkstemp(prefix=name + PREFIX, dir=parent)
        path = Path(made)
        handle = _owned(path)
        if handle is not None:
            break
        os.close(writing)
    try:
        yield path, writing
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(handle)


def sweep(parent: Path | None = None, name: str = "") -> int:
    """Remove what dead processes left in ``parent`` under our prefix; how many. Never raises."""
    parent = parent if parent is not None else _temporary()
    swept = 0
    with suppress(OSError):
        for entry in os.listdir(parent):
            if entry.startswith(name + PREFIX):
                swept += _removed(parent / entry)
    return swept


def _temporary() -> Path:
    """``tempfile.gettempdir()``, which needs a random number and a file, by looking."""
    if (tempfile := sys.modules.get("tempfile")) is not None:
        return Path(tempfile.gettempdir())
    said = filter(None, (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")))
    places = [os.path.abspath(place) for place in (*said, "/tmp", "/var/tmp", "/usr/tmp")]
    return Path(next((place for place in places if os.access(place, os.W_OK | os.X_OK)), os.curdir))


def _owned(path: Path) -> int | None:
    """A descriptor that holds ``path``; ``None`` where somebody swept it between its making and now."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    # A file system that knows no such locks has nothing swept, either.
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(handle), os.stat(path)):
            return handle
    os.close(handle)
    return None


def _removed(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        found = os.fstat(handle)
        if found.st_uid != os.geteuid():
            return False
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stat.S_ISDIR(found.st_mode):
            remove_tree(path)
        else:
            path.unlink(missing_ok=True)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
