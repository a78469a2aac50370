"""A layer's blob → what is at each of its paths, and the few files that say which packages there are.

Reads the whole stream once and keeps only names, modes and sums (OCI image-spec v1.1, layer.md); nothing is unpacked.
The blob's own digest is checked on the way, so that a damaged layout is an error and no difference.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from isal import igzip, isal_zlib

from ..kernel.errors import ArtifactError
from ..store.hashing import HashedReader
from .entries import File

__all__ = ["LayerFiles", "read_layer"]

_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
_DAMAGE = cast("type[Exception]", isal_zlib.error)
# No list of packages is larger than this; a file of this name that is, is something else.
_KEPT = 64 << 20


@dataclass(frozen=True, slots=True)
class LayerFiles:
    """``files`` by path, whiteouts among them under their own names; ``contents`` of those that were asked for."""

    files: Mapping[str, File]
    contents: Mapping[str, bytes]


def read_layer(blob: Path, digest: str, keep: Callable[[str], bool]) -> LayerFiles | None:
    """The files of a layer; ``keep`` chooses the paths whose content is wanted.

    ``None`` where the blob is compressed in a way that is not known here (zstd). Raises :class:`ArtifactError` for one
    that is no tar stream or does not have ``digest``, and ``OSError`` where it cannot be read.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(open(blob, "rb"))
        magic = raw.read(262)
        raw.seek(0)
        compressed = magic.startswith(_GZIP)
        if not compressed and magic and magic[257:262] != b"ustar" and magic.strip(b"\0"):
            return None
        source = HashedReader(raw)
        buffered = stack.enter_context(io.BufferedReader(cast(Any, source), _CHUNK))
        opened: Any = igzip  # its functions have no types
        stream = stack.enter_context(opened.IGzipFile(fileobj=buffered, mode="rb")) if compressed else buffered
        try:
            found = _read(stream, keep)
            while stream.read(_CHUNK):
                pass
            while buffered.read(_CHUNK):
                pass
        except (tarfile.TarError, EOFError, _DAMAGE) as e:
            raise ArtifactError(
                f"{blob}: expected a layer, a tar stream: {e}", hint="the image is damaged; copy or build it again"
            ) from e
    actual = f"sha256:{source.sha256.hexdigest()}"
    if actual != digest:
        raise ArtifactError(
            f"{blob}: expected the digest {digest}, found {actual}", hint="the image is damaged; copy or build it again"
        )
    return found


def _read(stream: IO[bytes], keep: Callable[[str], bool]) -> LayerFiles:
    files: dict[str, File] = {}
    contents: dict[str, bytes] = {}
    with tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as tar:
        for member in tar:
            path = _plain(member.name)
            if path:
                files[path] = _file(tar, member, contents if keep(path) else None, path)
    return LayerFiles(files, contents)


def _plain(name: str) -> str:
    """``./usr//bin/`` → ``usr/bin``."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _file(tar: tarfile.TarFile, member: tarfile.TarInfo, contents: dict[str, bytes] | None, path: str) -> File:
    owner, mode = f"{member.uid}:{member.gid}", member.mode & 0o7777
    if member.isdir():
        return File("folder", mode, owner=owner)
    if member.issym():
        return File("link", link=member.linkname, owner=owner)
    if member.islnk():
        return File("hardlink", link=_plain(member.linkname), owner=owner)
    source = tar.extractfile(member)
    if source is None:
        return File("device", mode, link=f"{member.type.decode()} {member.devmajor}:{member.devminor}", owner=owner)
    sha256, crc, kept = hashlib.sha256(), 0, []
    while chunk := source.read(_CHUNK):
        sha256.update(chunk)
        crc = zlib.crc32(chunk, crc)
        if contents is not None and member.size <= _KEPT:
            kept.append(chunk)
    if contents is not None:
        contents[path] = b"".join(kept)
    return File("file", mode, member.size, f"{crc:08x}", sha256.hexdigest(), owner=owner)
