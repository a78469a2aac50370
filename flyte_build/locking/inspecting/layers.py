"""One layer's blob → entries of the tree. Reads the stream once; what is kept of it is small.

The blob's own digest was verified when it was pulled; what it unpacks to is held against the diff_id here, because the
configuration of an image is only worth something if it describes these very layers.
"""

from __future__ import annotations

import os
import re
import tarfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from ...kernel.errors import ArtifactError, RefusedError
from ...kernel.layer_tar import GZIP, ZSTD, BadLayer, LayerTar, damage, most_inflated, plain_path, whiteout
from .tree import Node, Tree

__all__ = ["read_layer"]

_SMALL = 64 << 10
_LISTS = 64 << 20

# Names that say nothing about what is in them are kept where they are short.
_TEXTS = re.compile(
    r"etc/(passwd|group|os-release)|usr/lib/os-release|.*/pyvenv\.cfg|pyvenv\.cfg|.*/include/python3[^/]*/patchlevel\.h"
)
_STATUS = re.compile(r"var/lib/dpkg/status|var/lib/dpkg/status\.d/(?!.*\.md5sums$)[^/]+")
# The header is all that is read of them: core metadata comes before the description.
_METADATA = re.compile(r".*\.(dist-info/METADATA|egg-info/PKG-INFO|egg-info)")
_RECORD = re.compile(r".*\.dist-info/RECORD")
_LIBC = re.compile(r"(.*/)?libc(-2\.\d+\.so|\.so\.6)")
# What the GNU C Library says of itself when it is run as a program; in its read-only data.
_RELEASE = re.compile(rb"GNU C Library [^\n]{0,120}?release version (\d+\.\d+)")


def read_layer(blob: Path, diff_id: str, layer: int, tree: Tree, title: str) -> None:
    """Add the layer in ``blob`` to ``tree`` with the number ``layer``; ``title`` is for messages.

    Raises :class:`ArtifactError` for a blob that is no tar stream, is damaged or hostile, or does not unpack to
    ``diff_id``, and :class:`RefusedError` for one that is compressed with zstd.
    """
    with ExitStack() as stack:
        raw: IO[bytes] = stack.enter_context(open(blob, "rb"))
        magic = raw.read(4)
        raw.seek(0)
        if magic == ZSTD:
            raise RefusedError(
                f"{title}: the layer is compressed with zstd, which this flyte-build does not read",
                hint="copy the base with gzip layers (`skopeo copy --dest-compress-format gzip …`) and name the copy",
            )
        tar = LayerTar(
            cast(BinaryIO, raw), compressed=magic[:2] == GZIP, limit=most_inflated(os.fstat(raw.fileno()).st_size)
        )
        try:
            for member, path, content in tar.members():
                with damage():
                    _entry(member, path, content, layer, tree, title)
            tar.drain()
        except BadLayer as e:
            raise ArtifactError(f"{title}: {e}", hint=_HINT) from e
    if tar.digest != diff_id:
        raise ArtifactError(f"{title}: expected a layer with the diff_id {diff_id}, found {tar.digest}", hint=_HINT)


_HINT = "the image in the registry is damaged: its configuration does not describe its layers; build or push it again"


def _entry(member: tarfile.TarInfo, path: str, content: IO[bytes] | None, layer: int, tree: Tree, title: str) -> None:
    if not path:
        return
    hidden = whiteout(path)
    if hidden is not None:
        tree.hide(path.rpartition("/")[0], hidden, layer)
        return
    if member.islnk():
        if not tree.link(path, plain_path(member.linkname), layer):
            raise ArtifactError(
                f"{title}: the hard link `{path}` leads to `{member.linkname}`, which is no file", hint=_HINT
            )
        return
    kind = "dir" if member.isdir() else "symlink" if member.issym() else "file" if member.isreg() else "other"
    node = Node(
        cast(Any, kind), member.mode & 0o7777, member.uid, member.gid, member.size, member.linkname, layer=layer
    )
    keep = _keeper(path) if content is not None else None
    if keep is not None and content is not None:
        node.content = keep(content, member.size)
    tree.add(path, node)


def _keeper(path: str) -> Callable[[IO[bytes], int], bytes | None] | None:
    for pattern, keep in _KEEPERS:
        if pattern.fullmatch(path):
            return keep
    return None


def _head(source: IO[bytes], size: int) -> bytes | None:
    return source.read(_SMALL)


def _whole(source: IO[bytes], size: int) -> bytes | None:
    return source.read() if size <= _LISTS else None


def _packed(source: IO[bytes], size: int) -> bytes | None:
    """RECORDs are long and many; they are read again only where a distribution has to make room."""
    return zlib.compress(source.read(), 1) if size <= _LISTS else None


def _release(source: IO[bytes], size: int) -> bytes | None:
    found = _RELEASE.search(source.read()) if size <= _LISTS else None
    return found[1] if found else None


_KEEPERS: tuple[tuple[re.Pattern[str], Callable[[IO[bytes], int], bytes | None]], ...] = (
    (_TEXTS, _head),
    (_STATUS, _whole),
    (_METADATA, _head),
    (_RECORD, _packed),
    (_LIBC, _release),
)
