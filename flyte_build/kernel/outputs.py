"""What a person asked to have written (``--output FILE``): whole or not at all, and, where the machine refuses, in
words that are about that place.

The store has words of its own (``store.files``): it can lie elsewhere, and be freed. Never decides what is written.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import StoreError
from .files import fsync_directory
from .quantities import size
from .scratch import scratch_file

__all__ = [
    "FULL",
    "certain",
    "check_place",
    "output",
    "refusal_in",
    "refused",
    "room",
    "why",
    "write_output",
    "writing",
]

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The disk, a quota or a limit on files' sizes is used up."""

_REFUSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO})
_BUFFER = 1 << 20


def why(error: OSError, path: Path) -> str:
    """Why ``path`` cannot be written: what is in the way, or is not there, before the machine's own word for it."""
    words = os.strerror(error.errno) if error.errno else str(error)
    if (obstacle := _in_the_way(path)) is not None:
        return f"{obstacle} is no folder"
    if error.errno in (errno.EEXIST, errno.ENOTDIR) and os.path.lexists(path) and not os.path.isdir(path):
        return "it is no folder"
    if error.errno == errno.ENOENT and isinstance(error.filename, str):
        folder = os.path.dirname(os.path.abspath(error.filename))
        return f"nothing can be made in {folder}" if os.path.isdir(folder) else f"there is no folder {folder}"
    return words


def _in_the_way(path: Path) -> Path | None:
    """What stands where ``path`` needs a folder, and is none."""
    return next((p for p in reversed(path.absolute().parents) if os.path.lexists(p) and not os.path.isdir(p)), None)


def room(path: Path, told: Callable[[int], str] = size) -> str:
    """What is left on the disk of ``path``, which need not be there yet."""
    for folder in (path, *path.absolute().parents):
        with suppress(OSError):
            found = os.statvfs(folder)
            if found.f_files and not found.f_favail:
                return "no inode free, so no file can be made"
            return f"{told(found.f_bavail * found.f_frsize)} free"
    return "an unknown number of bytes free"


def refused(error: OSError, path: Path, needed: int | None = None) -> StoreError:
    """That ``path`` cannot be written; ``needed`` bytes were to be."""
    if error.errno in FULL:
        want = f", {size(needed)} needed" if needed else ""
        return StoreError(
            f"{path}: no space left: {room(path)}{want}", hint="free some space there, or name a place on another disk"
        )
    return StoreError(f"{path}: cannot be written: {why(error, path)}", hint="name a place that you may write to")


@contextmanager
def writing(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn what the machine refuses inside into :class:`StoreError` about ``path``; not that a pipe's reader left."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as e:
        raise refused(e, path, needed) from e


def refusal_in(words: str) -> None:
    """Raise as OSError what another program says that the machine refused it: ``[Errno 28]`` in Python's words, ``(os
    error 28)`` in Rust's. Says nothing of anything else."""
    found = re.search(r"\[Errno (\d{1,3})\]|\(os error (\d{1,3})\)", words)
    code = int(found[1] or found[2]) if found else 0
    if code in FULL or code in _REFUSED:
        raise OSError(code, os.strerror(code))


def check_place(path: Path) -> None:
    """Raise :class:`StoreError` where it is certain that ``path`` cannot be written: before it is made with much work.

    That it raises nothing promises nothing: a disk may be full, and some file systems refuse without saying so.
    """
    if (error := certain(path)) is not None:
        raise refused(error, path)


def certain(path: Path) -> OSError | None:
    """Why ``path`` surely cannot be written, as far as one can tell without trying."""
    if (obstacle := _in_the_way(path)) is not None:
        return NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(obstacle))
    folder = next(p for p in path.absolute().parents if os.path.isdir(p))
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        read_only = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
        code = errno.EROFS if read_only else errno.EACCES
        return OSError(code, os.strerror(code), str(folder))
    return None


@contextmanager
def output(path: Path, needed: int | None = None, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write that becomes ``path`` when the block ends well, flushed to the disk, and else is removed.

    Folders are made; ``mode`` is less the process's mask. A link stays one: what it leads to is written. What is there
    and is no file (a pipe, ``/dev/stdout``) is written as it comes. Raises :class:`StoreError` where the machine
    refuses, also of what the block writes.
    """
    named, path = path, Path(os.path.realpath(path))
    # Of the name that was given: what /dev/stdout leads to may have none of its own.
    if os.path.exists(named) and not os.path.isfile(named):
        with writing(named), open(named, "wb") as straight:
            yield straight
        return
    with ExitStack() as stack:
        with writing(named, needed):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary, handle = stack.enter_context(scratch_file(path.parent, f".{path.name[:100]}"))
        out = os.fdopen(handle, "wb", buffering=_BUFFER)
        try:
            with writing(named, needed):
                yield out
                out.flush()
                os.fchmod(out.fileno(), mode & ~_umask())
                os.fsync(out.fileno())
        finally:
            # What could not be flushed above cannot be now: the first error has said so.
            with suppress(OSError):
                out.close()
        with writing(named, needed):
            os.replace(temporary, path)
            fsync_directory(path.parent)


def write_output(path: Path, content: str | bytes) -> None:
    """Write ``content`` (text as UTF-8) to ``path``, as :func:`output` does."""
    data = content.encode() if isinstance(content, str) else content
    with output(path, len(data)) as out:
        out.write(data)


def _umask() -> int:
    """The process's own mask, without the moment of another one that asking by ``os.umask`` costs other threads."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022
