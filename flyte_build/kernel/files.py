"""A file written whole or not at all: under another name first, then renamed. What is there stays until then.

For files of our own; what a person names has :mod:`.outputs`.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["fsync_directory", "remove_tree", "write_whole"]


def write_whole(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write ``content`` (text as UTF-8) to ``path``. Raises :class:`OSError`; then ``path`` is as it was."""
    import tempfile

    folder = path.absolute().parent
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_tree(path: Path) -> None:
    """``shutil.rmtree`` of what may be gone and must not stop anybody, which is imported where there is much to remove.

    It brings three compressors, and most folders that are removed at the end of something are empty.
    """
    try:
        # By descriptor, as `shutil` does: what is put in its place meanwhile is not followed.
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for name in os.listdir(folder):
                try:
                    os.unlink(name, dir_fd=folder)
                except IsADirectoryError:
                    os.rmdir(name, dir_fd=folder)
        finally:
            os.close(folder)
        os.rmdir(path)
    except OSError:
        import shutil

        shutil.rmtree(path, ignore_errors=True)


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
