"""A file written whole or not at all: under another name first, then renamed. What is there stays until then.

For files of our own; what a person names has :mod:`.outputs`.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["fsync_directory", "write_whole"]


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


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
