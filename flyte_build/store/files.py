"""Bytes on disk, whole or not at all: the store's ground floor.

Everything is written under a temporary name in the store's own file system, flushed to the disk and renamed.
A crash at any instant leaves either the old state or the new one, never half a file under a final name.
What the operating system refuses (no space, no permission) becomes a :class:`StoreError` that says where and
what to do. Never decides what is stored, never touches a network.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from ..kernel.errors import StoreError
from ..kernel.files import fsync_directory

__all__ = ["CHUNK", "Refused", "copy_verified", "fsync_directory", "hash_file", "human", "publish", "share", "storing"]

CHUNK = 1 << 20
# _IOW(0x94, 9, int) of linux/fs.h: make one file share another's extents (btrfs, xfs, overlay on them).
_FICLONE = 0x40049409
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
_MISPLACED = {errno.ENOENT, errno.ENOTDIR, errno.EEXIST}


Refused = Callable[[Path, int | None], AbstractContextManager[None]]
"""Who words what the machine refuses of a path where so many bytes were to be written: :func:`storing`, or another."""


class Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...


def human(size: int) -> str:
    """``size`` bytes for a person: ``"1.5 MiB"``."""
    value, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


@contextmanager
def storing(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn the operating system's refusals inside into :class:`StoreError`; ``needed`` bytes were to be written."""
    try:
        yield
    except OSError as e:
        raise _store_error(e, path, needed) from e


def _store_error(e: OSError, path: Path, needed: int | None) -> StoreError:
    from ..kernel.outputs import FULL, room, why

    if e.errno in FULL:
        want = f", {human(needed)} needed" if needed else ""
        return StoreError(
            f"{path}: no space left: {room(path, human)}{want}",
            hint="free some space, run `flyte-build store gc`, or set FLYTE_BUILD_CACHE to a folder on another disk",
        )
    if e.errno in _FORBIDDEN:
        return StoreError(
            f"{path}: cannot be written: {os.strerror(e.errno or 0)}",
            hint="set FLYTE_BUILD_CACHE to a folder that you may write to",
        )
    if e.errno in _MISPLACED:
        return StoreError(
            f"{path}: cannot be written: {why(e, path)}",
            hint="run this again; if it stays so, set FLYTE_BUILD_CACHE to a folder that you may write to",
        )
    return StoreError(
        f"{path}: {e.strerror or e}",
        hint="run `flyte-build store verify`; the store can be deleted at any time and costs only time",
    )


def hash_file(path: Path, advance: Callable[[int], None] | None = None) -> tuple[str, int]:
    """SHA-256 in hex and size in bytes of the file; ``advance`` hears of every block read."""
    import hashlib

    digest = hashlib.sha256()
    size = 0
    buffer = bytearray(CHUNK >> 2)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as f:
        while count := f.readinto(buffer):
            digest.update(view[:count])
            size += count
            if advance is not None:
                advance(count)
    return digest.hexdigest(), size


def publish(temporary: Path, final: Path, mode: int = 0o444) -> None:
    """Give finished bytes their final name: flushed to the disk first, with ``mode``, replacing what was there.

    The directory's entry is durable only after :func:`fsync_directory`, which callers batch.
    """
    handle = os.open(temporary, os.O_RDONLY)
    try:
        os.fchmod(handle, mode)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(temporary, final)


def _reflink(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def copy_verified(
    source: Path,
    target: Path,
    advance: Callable[[int], None] | None = None,
    *,
    limit: int | None = None,
    refused: Refused = storing,
) -> tuple[str, int]:
    """Copy ``source`` to the new file ``target``; SHA-256 in hex and size of what *arrived*.

    Shares extents where the file system can. The hash is of the copy, so a source that changes meanwhile cannot
    get past it. Never a hard link: the source is somebody else's file and may be written in place later.
    ``limit``: stop after that many bytes and one more. An unreadable source raises ``OSError``, a target that
    cannot be written :class:`StoreError`, in the words of ``refused``.
    """
    import hashlib

    with open(source, "rb", buffering=0) as src:
        with refused(target, limit):
            dst = open(target, "xb", buffering=0)  # noqa: SIM115
        with dst:
            if _reflink(src.fileno(), dst.fileno()):
                return hash_file(target, advance)
            digest = hashlib.sha256()
            size = 0
            while chunk := src.read(CHUNK):
                with refused(target, limit):
                    view = memoryview(chunk)
                    while view:
                        view = view[dst.write(view) :]
                digest.update(chunk)
                size += len(chunk)
                if advance is not None:
                    advance(len(chunk))
                if limit is not None and size > limit:
                    break
    return digest.hexdigest(), size


def share(source: Path, target: Path, refused: Refused = storing) -> None:
    """``target`` becomes the same bytes as our read-only ``source``: reflink, else hard link, else copy; ``refused`` as
    for a copy."""
    with open(source, "rb", buffering=0) as src:
        with open(target, "xb", buffering=0) as dst:
            if _reflink(src.fileno(), dst.fileno()):
                os.fchmod(dst.fileno(), 0o444)
                return
        target.unlink()
        try:
            os.link(source, target)
        except OSError:
            copy_verified(source, target, refused=refused)
            os.chmod(target, 0o444)
