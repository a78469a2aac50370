"""The door: the one way in which files of a sandbox are read, and files are written where a sandbox may write.

A task may put anything into its folders, and change it while it is looked at. So nothing here trusts a path twice:
folders are held open, each step goes from one open folder to the next, and no link is followed (openat2(2) with
``RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS``, or the same component by component). Only regular
files come through, up to a size, and they are copied (or cloned where the file system can), never linked. What is
written gets a name made here, and appears whole or not at all.

Everything else in ``submit`` that opens a path below a run's ``meta`` or ``raw`` or in a sandbox's scratch comes here;
a test looks for what does not. Knows nothing of what files mean.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .action import INLINE

__all__ = [
    "INLINE", "LARGEST", "Refused", "copy_to", "entries", "exists", "folder", "folder_at", "has_file", "is_folder",
    "is_there", "link_at", "link_to", "make_folders", "new_file", "open_file", "read", "take", "write",
]  # fmt: skip

LARGEST = (1 << 31) - 1  # bytes: protobuf reads no larger message

_OPENAT2 = 437  # the same number on every architecture (Linux 5.6)
_BENEATH, _NO_SYMLINKS, _NO_MAGICLINKS = 0x08, 0x04, 0x02
_FICLONE = 0x40049409
_CHUNK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


class Refused(OSError):
    """Something at the door that is no plain file or folder, or too large; says what was expected and found."""


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _openat2(at: int, path: str, flags: int) -> int:
    how = _How(flags | os.O_CLOEXEC, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)
    done = _libc.syscall(_OPENAT2, at, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if done < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return int(done)


_kernel_has_it = True


def _open(at: int, path: str, flags: int) -> int:
    """Open ``path``, relative to the open folder ``at``, without following any link on the way or at its end."""
    global _kernel_has_it
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or path.startswith("/") or "\0" in path:
        raise Refused(errno.EXDEV, "expected a path below the folder", path)
    if _kernel_has_it:
        try:
            return _openat2(at, "/".join(parts) or ".", flags)
        except OSError as e:
            # A sandbox of somebody else's may forbid the call (EPERM), an old kernel not know it.
            if e.errno not in (errno.ENOSYS, errno.EPERM):
                raise _told(e, path) from None
            _kernel_has_it = False
    try:
        return _step_by_step(at, parts, flags)
    except OSError as e:
        raise _told(e, path) from None


def _told(error: OSError, path: str) -> OSError:
    if error.errno in (errno.ELOOP, errno.EXDEV, errno.ENOTDIR):
        return Refused(error.errno, "expected files and folders only, found a link or something else on the way", path)
    return error


def _step_by_step(at: int, parts: list[str], flags: int) -> int:
    if not parts:
        return os.open(".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    held = os.dup(at)
    try:
        for part in parts[:-1]:
            following = os.open(part, _FOLDER, dir_fd=held)
            os.close(held)
            held = following
        return os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=held)
    finally:
        os.close(held)


@contextmanager
def folder(path: Path | str, below: str = "") -> Iterator[int]:
    """Hold open the folder ``below`` of ``path``, which is ours: no task can have made it, or a link in its place."""
    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        held = _open(top, below, _FOLDER) if below else top
        try:
            yield held
        finally:
            if held != top:
                os.close(held)
    finally:
        os.close(top)


@contextmanager
def open_file(at: int, path: str) -> Iterator[int]:
    """Hold open the regular file ``path`` below the open folder ``at``. Raises :class:`Refused` for anything else that
    is there, :class:`FileNotFoundError` where nothing is."""
    # Looked at before it is opened: opening a pipe waits, opening a device may do anything.
    looked = _open(at, path, os.O_PATH)
    try:
        kind = os.fstat(looked).st_mode
        if not stat.S_ISREG(kind):
            raise Refused(errno.EINVAL, f"expected a regular file, found {_kind(kind)}", path)
        handle = os.open(f"/proc/self/fd/{looked}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(looked)
    try:
        yield handle
    finally:
        os.close(handle)


def read(at: int, path: str, limit: int = INLINE) -> bytes:
    """The bytes of a regular file; :class:`Refused` where it has more than ``limit``, however it grows meanwhile."""
    with open_file(at, path) as handle:
        found = bytearray()
        while block := os.read(handle, min(_CHUNK, limit + 1 - len(found))):
            found += block
            if len(found) > limit:
                raise Refused(errno.EFBIG, f"expected at most {limit} bytes, found more", path)
        return bytes(found)


def has_file(at: int, path: str) -> bool:
    """Whether a regular file is there, without a link on the way."""
    try:
        with open_file(at, path):
            return True
    except OSError:
        return False


def _mode(at: int, path: str) -> int | None:
    """The mode of what is there, without a link on the way; ``None`` where that is nothing, or cannot be looked at."""
    try:
        looked = _open(at, path, os.O_PATH)
    except OSError:
        return None
    try:
        return os.fstat(looked).st_mode
    finally:
        os.close(looked)


def exists(at: int, path: str) -> bool:
    """Whether a regular file or a folder is there, without a link on the way."""
    mode = _mode(at, path)
    return mode is not None and (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_folder(at: int, path: str) -> bool:
    """Whether a folder is there, without a link on the way."""
    mode = _mode(at, path)
    return mode is not None and stat.S_ISDIR(mode)


def is_there(at: int, path: str) -> bool:
    """Whether anything is there, whatever it is."""
    try:
        os.close(_open(at, path, os.O_PATH | os.O_NOFOLLOW))
    except OSError as e:
        return not isinstance(e, FileNotFoundError)
    return True


def link_at(at: int, path: str) -> str | None:
    """Where the link at ``path`` points; ``None`` for what is no link. Raises :class:`OSError` where nothing is there,
    or a link is on the way."""
    looked = _open(at, path, os.O_PATH | os.O_NOFOLLOW)
    try:
        return os.readlink("", dir_fd=looked) if stat.S_ISLNK(os.fstat(looked).st_mode) else None
    finally:
        os.close(looked)


@contextmanager
def folder_at(at: int, path: str) -> Iterator[int]:
    """Hold open the folder ``path`` below the open folder ``at``."""
    held = _open(at, path, _FOLDER)
    try:
        yield held
    finally:
        os.close(held)


def entries(at: int) -> list[str]:
    """The names in an open folder, sorted."""
    return sorted(os.listdir(at))


def make_folders(at: int, path: str) -> None:
    """Make ``path`` and the folders on the way, below ``at``; :class:`Refused` where anything else is in the way."""
    held = os.dup(at)
    try:
        for part in [p for p in path.split("/") if p]:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=held)
            try:
                following = os.open(part, _FOLDER, dir_fd=held)
            except OSError as e:
                raise Refused(e.errno or 0, f"expected a folder at `{part}`, found something else", path) from None
            os.close(held)
            held = following
    finally:
        os.close(held)


def write(at: int, name: str, data: bytes) -> None:
    """Write ``data`` to ``name`` in the open folder ``at``, whole or not at all, in the place of whatever was there."""
    with new_file(at, name) as handle:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]


def copy_to(source: int, at: int, name: str, limit: int | None = None) -> None:
    """Copy the open regular file ``source`` to ``name`` in the open folder ``at``: cloned where the file system can,
    holes kept, up to the size that it has now; :class:`Refused` where that is more than ``limit``."""
    with new_file(at, name) as handle:
        try:
            fcntl.ioctl(handle, _FICLONE, source)
        except OSError:
            _copy(source, handle, limit)
        if limit is not None and os.fstat(handle).st_size > limit:
            raise Refused(errno.EFBIG, f"expected at most {limit} bytes, found more", name)


def take(top: int, below: str, at: int, name: str, limit: int = INLINE) -> None:
    """Copy the regular file ``below`` the open folder ``top``, as it is and without reading it into memory."""
    with open_file(top, below) as source:
        copy_to(source, at, name, limit)


def link_to(source: int, at: int, name: str) -> None:
    """Give the open regular file ``source`` another name, ``name`` in the open folder ``at``; a copy where that cannot
    be.

    Only for files that nothing in a sandbox can write to: both names are of the same bytes.
    """
    try:
        os.link(f"/proc/self/fd/{source}", name, dst_dir_fd=at, follow_symlinks=True)
    except FileExistsError:
        raise
    except OSError:
        copy_to(source, at, name)


def _copy(source: int, target: int, limit: int | None = None) -> None:
    end = os.fstat(source).st_size
    if limit is not None:
        end = min(end, limit + 1)
    position = 0
    while position < end:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError:  # a hole up to the end
            break
        stop = min(os.lseek(source, start, os.SEEK_HOLE), end)
        while start < stop:
            block = os.pread(source, min(_CHUNK, stop - start), start)
            if not block:  # it was cut meanwhile
                end = stop = start
                break
            os.pwrite(target, block, start)
            start += len(block)
        position = max(stop, start)
    os.ftruncate(target, end)


@contextmanager
def new_file(at: int, name: str) -> Iterator[int]:
    """A new file that becomes ``name`` at the end, or nothing."""
    if "/" in name or name in ("", ".", ".."):
        raise Refused(errno.EINVAL, "expected a plain name", name)
    temporary = f".{secrets.token_hex(8)}.part"
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=at)
    try:
        try:
            yield handle
        finally:
            os.close(handle)
        os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=at)
        raise


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((name for test, name in kinds if test(mode)), "a device")
