"""A layer's blob → what is at each of its paths, and the few files that say which packages there are.

Reads the whole stream once and keeps only names, modes and sums (OCI image-spec v1.1, layer.md); nothing is unpacked.
The blob's own digest is checked on the way, so that a damaged layout is an error and no difference.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from ..kernel.errors import ArtifactError
from ..kernel.layer_tar import GZIP, BadLayer, LayerTar, damage, most_inflated, plain_path
from ..store.hashing import HashedReader
from .entries import File

__all__ = ["LayerFiles", "read_layer"]

_CHUNK = 1 << 20
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
        compressed = magic.startswith(GZIP)
        if not compressed and magic and magic[257:262] != b"ustar" and magic.strip(b"\0"):
            return None
        source = HashedReader(raw)
        buffered = stack.enter_context(io.BufferedReader(cast(Any, source), _CHUNK))
        limit = most_inflated(os.fstat(raw.fileno()).st_size)
        try:
            found = _read(LayerTar(cast(BinaryIO, buffered), compressed=compressed, limit=limit), keep)
            while buffered.read(_CHUNK):
                pass
        except BadLayer as e:
            raise ArtifactError(f"{blob}: {e}", hint="the image is damaged; copy or build it again") from e
    actual = f"sha256:{source.sha256.hexdigest()}"
    if actual != digest:
        raise ArtifactError(
            f"{blob}: expected the digest {digest}, found {actual}", hint="the image is damaged; copy or build it again"
        )
    return found


def _read(tar: LayerTar, keep: Callable[[str], bool]) -> LayerFiles:
    files: dict[str, File] = {}
    contents: dict[str, bytes] = {}
    for member, path, content in tar.members():
        if path:
            with damage():
                files[path] = _file(member, content, contents if keep(path) else None, path)
    tar.drain()
    return LayerFiles(files, contents)


def _file(member: tarfile.TarInfo, source: IO[bytes] | None, contents: dict[str, bytes] | None, path: str) -> File:
    owner, mode = f"{member.uid}:{member.gid}", member.mode & 0o7777
    if member.isdir():
        return File("folder", mode, owner=owner)
    if member.issym():
        return File("link", link=member.linkname, owner=owner)
    if member.islnk():
        return File("hardlink", link=plain_path(member.linkname), owner=owner)
    if source is None:
        return File(
            "device", mode, link=f"{member.type.decode('latin-1')} {member.devmajor}:{member.devminor}", owner=owner
        )
    sha256, crc, kept = hashlib.sha256(), 0, []
    while chunk := source.read(_CHUNK):
        sha256.update(chunk)
        crc = zlib.crc32(chunk, crc)
        if contents is not None and member.size <= _KEPT:
            kept.append(chunk)
    if contents is not None:
        contents[path] = b"".join(kept)
    return File("file", mode, member.size, f"{crc:08x}", sha256.hexdigest(), owner=owner)
