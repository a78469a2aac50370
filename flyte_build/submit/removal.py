"""Removes what a task left in its folders, however deep it is and whatever modes it has.

``shutil.rmtree`` calls itself for each folder in a folder, and keeps each of them open: a task that nests thousands
would end its launcher. Here deep folders are first moved up. Nothing is followed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import door

__all__ = ["remove_left"]

_DEEP = 100
_ROUNDS = 10_000


def remove_left(path: Path) -> OSError | None:
    """Remove the folder ``path``, which is ours, with all that is in it; why not, where something remains."""
    refused: list[OSError] = []
    try:
        with door.folder(path) as top:
            for _ in range(_ROUNDS):
                refused.clear()
                if not _empty(top, top, _DEEP, refused):
                    break
        os.rmdir(path)
    except FileNotFoundError:
        return None
    except OSError as e:
        refused.append(e)
    return refused[0] if refused else None


def _empty(held: int, top: int, left: int, refused: list[OSError]) -> bool:
    """Remove what is in the open folder ``held``; whether anything was moved to ``top``, to be removed in its turn."""
    moved = False
    for name in os.listdir(held):
        try:
            os.unlink(name, dir_fd=held)
        except IsADirectoryError:
            try:
                with _writable(held, name) as inner:
                    if left:
                        moved |= _empty(inner, top, left - 1, refused)
                if left:
                    os.rmdir(name, dir_fd=held)
                else:
                    os.rename(name, f"deep-{secrets.token_hex(8)}", src_dir_fd=held, dst_dir_fd=top)
                    moved = True
            except OSError as e:
                refused.append(e)
        except OSError as e:
            refused.append(e)
    return moved


@contextmanager
def _writable(held: int, name: str) -> Iterator[int]:
    """Hold open the folder ``name``, after its owner's rights to it were given back."""
    looked = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=held)
    try:
        os.chmod(f"/proc/self/fd/{looked}", 0o700)
        inner = os.open(f"/proc/self/fd/{looked}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(looked)
    try:
        yield inner
    finally:
        os.close(inner)
