"""A layer's blob → its diff_id and its listing, as the assembler would have told them.

So a layer that came from a registry is known as well as one made here, and nobody's word is needed for what it holds.
Reads the whole stream once; nothing is unpacked.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import IO, Any, cast

from isal import igzip, isal_zlib

from ..store.hashing import HashedReader
from .cache_entries import Unbelievable

__all__ = ["read_listing"]

_CHUNK = 1 << 20
_DAMAGE = cast("type[Exception]", isal_zlib.error)


class _Counted:
    """Bytes pass, and are counted; more than ``limit`` are one too many."""

    def __init__(self, stream: Any, limit: int | None) -> None:
        self._stream, self._limit, self.size = stream, limit, 0

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read(size)
        self.size += len(data)
        if self._limit is not None and self.size > self._limit:
            raise Unbelievable(f"expected {self._limit} bytes of tar, found more")
        return data


def read_listing(blob: Path, limit: int | None = None) -> tuple[str, int, dict[str, str]]:
    """``diff_id``, size of the tar stream in bytes, and listing (see ``assemble.blob.BlobResult``) of a gzip layer.

    ``limit``: bytes that the tar stream may have. Raises :class:`Unbelievable` for a blob that is no tar in gzip, and
    ``OSError`` where it cannot be read.
    """
    listing: dict[str, str] = {}
    try:
        opened: Any = igzip  # its functions have no types
        with opened.IGzipFile(blob, mode="rb") as plain:
            counted = _Counted(plain, limit)
            stream = HashedReader(cast(Any, counted))
            with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|", errorlevel=2) as tar:
                for member in tar:
                    listing[member.name] = _identity(tar, member)
            while stream.read(_CHUNK):
                pass  # what follows the archive is part of the diff_id
    except (tarfile.TarError, _DAMAGE, EOFError, UnicodeError) as e:
        raise Unbelievable(f"expected a layer, a tar stream in gzip: {e}") from None
    except OSError as e:
        if e.errno is not None:
            raise
        raise Unbelievable(f"expected a layer, a tar stream in gzip: {e}") from None
    return f"sha256:{stream.sha256.hexdigest()}", counted.size, listing


def _identity(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    if member.isdir():
        identity = f"d {member.mode:04o}"
    elif member.issym():
        identity = f"l {member.linkname}"
    elif member.islnk():
        identity = f"h {member.linkname}"
    elif member.isreg():
        identity = f"f {member.mode:04o} {member.size} {_crc(tar, member):08x}"
    else:
        raise Unbelievable(f"`{member.name}` is a device or a pipe, which no layer of ours holds")
    return identity if member.uid == member.gid == 0 else f"{identity} {member.uid}:{member.gid}"


def _crc(tar: tarfile.TarFile, member: tarfile.TarInfo) -> int:
    source = tar.extractfile(member)
    assert source is not None
    crc = 0
    while chunk := source.read(_CHUNK):
        crc = isal_zlib.crc32(chunk, crc)
    return crc
