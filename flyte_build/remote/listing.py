"""A layer's blob → its diff_id and its listing, as the assembler would have told them.

So a layer that came from a registry is known as well as one made here, and nobody's word is needed for what it holds.
Reads the whole stream once; nothing is unpacked.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import IO

from isal import isal_zlib

from ..kernel.layer_tar import BadLayer, LayerTar, damage, most_inflated
from .cache_entries import Unbelievable

__all__ = ["read_listing"]

_CHUNK = 1 << 20


def read_listing(blob: Path, limit: int | None = None) -> tuple[str, int, dict[str, str]]:
    """``diff_id``, size of the tar stream in bytes, and listing (see ``assemble.blob.BlobResult``) of a gzip layer.

    ``limit``: bytes that the tar stream may have. Raises :class:`Unbelievable` for a blob that is no tar in gzip, and
    ``OSError`` where it cannot be read.
    """
    listing: dict[str, str] = {}
    try:
        with open(blob, "rb") as raw:
            most = most_inflated(os.fstat(raw.fileno()).st_size) if limit is None else limit
            tar = LayerTar(raw, compressed=True, limit=most)
            for member, _, content in tar.members():
                with damage():
                    listing[member.name] = _identity(member, content)
            tar.drain()
    except BadLayer as e:
        raise Unbelievable(str(e)) from None
    return tar.digest, tar.size, listing


def _identity(member: tarfile.TarInfo, content: IO[bytes] | None) -> str:
    if member.isdir():
        identity = f"d {member.mode:04o}"
    elif member.issym():
        identity = f"l {member.linkname}"
    elif member.islnk():
        identity = f"h {member.linkname}"
    elif content is not None:
        identity = f"f {member.mode:04o} {member.size} {_crc(content):08x}"
    else:
        raise Unbelievable(f"`{member.name}` is a device or a pipe, which no layer of ours holds")
    return identity if member.uid == member.gid == 0 else f"{identity} {member.uid}:{member.gid}"


def _crc(content: IO[bytes]) -> int:
    crc = 0
    while chunk := content.read(_CHUNK):
        crc = isal_zlib.crc32(chunk, crc)
    return crc
