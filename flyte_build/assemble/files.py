"""Layer kind ``files``: local files, folders and symlinks, at the paths and with the modes that the plan gives.

Local files can change while they are read, so each is hashed here, and what is written must have the CRC-32 of
what was hashed.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from .entries import Entry, Plain
from .errors import AssembleError

__all__ = ["file_entries"]

_CHUNK = 1 << 20


def file_entries(spec: Mapping[str, Any], resolve: Callable[[str], str]) -> list[Entry]:
    """The entries of a ``files`` layer; ``resolve`` gives the path of the content with a SHA-256 (hex).

    Raises :class:`AssembleError` when a file does not have the size and hash that the plan says.
    """
    return [_entry(row, resolve) for row in spec["files"]]


def _entry(row: Mapping[str, Any], resolve: Callable[[str], str]) -> Entry:
    path, mode, uid, gid = row["path"].strip("/"), row["mode"], row["uid"], row["gid"]
    if "sha256" in row:
        content = _content(row["path"], resolve(row["sha256"]), row["sha256"], row["size"])
        return Entry(path, "file", mode, (content,) if content.size else (), uid=uid, gid=gid)
    if "link" in row:
        return Entry(path, "symlink", 0o777, link=row["link"], uid=uid, gid=gid)
    return Entry(path, "dir", mode, uid=uid, gid=gid)


def _content(shown: str, source: str, sha256: str, size: int) -> Plain:
    hashed, crc, found = hashlib.sha256(), 0, 0
    with open(source, "rb", buffering=0) as f:
        while data := f.read(_CHUNK):
            hashed.update(data)
            crc = zlib.crc32(data, crc)
            found += len(data)
    if found != size or hashed.hexdigest() != sha256:
        raise AssembleError(
            f"expected {size} bytes with SHA-256 {sha256}, found {found} with {hashed.hexdigest()}; "
            "the file changed while the image was built",
            shown,
        )
    return Plain(source, 0, size, crc)
