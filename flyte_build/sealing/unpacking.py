"""The layers below a step → one folder, as its programs see it (OCI image-spec v1.1, layer.md).

Runs in the step's user namespace, so that owners are the layers' own, with the folder as its root directory: whatever
links a layer plants, no path leads out. Whiteouts are obeyed at once; extended attributes are kept. Reads strangers'
bytes through ``kernel.layer_tar`` only. Devices cannot be made here and are left out.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from contextlib import suppress
from typing import IO, BinaryIO

from ..kernel.layer_tar import GZIP, NOTES, ZSTD, BadLayer, LayerTar, damage, most_inflated, whiteout

__all__ = ["unpack"]

_ATTRIBUTE = "SCHILY.xattr."
_BLOCK = 1 << 20


def unpack(blob: BinaryIO, diff_id: str) -> None:
    """Unpack a layer's blob over the root directory. Raises :class:`BadLayer` where it is another."""
    magic = blob.read(4)
    blob.seek(0)
    if magic == ZSTD:
        raise BadLayer("the layer is compressed with zstd, expected gzip")
    tar = LayerTar(blob, compressed=magic[:2] == GZIP, limit=most_inflated(os.fstat(blob.fileno()).st_size))
    layer = _Layer()
    for member, path, content in tar.members():
        with damage():
            layer.entry(member, path, content)
    tar.drain()
    layer.close()
    if tar.digest != diff_id:
        raise BadLayer(f"expected diff_id {diff_id}, found {tar.digest}")


class _Layer:
    """One layer on its way. Folders get their times and modes last, as what they hold comes after them."""

    def __init__(self) -> None:
        self._mine: set[str] = set()
        self._folders: dict[str, tarfile.TarInfo] = {}

    def entry(self, member: tarfile.TarInfo, path: str, content: IO[bytes] | None) -> None:
        if not path:
            os.chmod("/", member.mode)
            os.chown("/", member.uid, member.gid)
            return
        hidden = whiteout(path)
        if hidden == NOTES:
            return
        folder, _, name = f"/{path}".rpartition("/")
        self._parents(folder)
        if hidden == "":
            self._hide_all(folder)
        elif hidden is not None:
            _remove(f"{folder}/{hidden}")
        else:
            self._put(member, f"{folder}/{name}", content)

    def _put(self, member: tarfile.TarInfo, at: str, content: IO[bytes] | None) -> None:
        self._mine.add(at)
        if member.isdir():
            if not _is_folder(at):
                _remove(at)
                os.mkdir(at)
            self._folders[at] = member
            _attributes(member, at)
            return
        _remove(at)
        if content is not None:
            with open(at, "xb") as out:
                while block := content.read(_BLOCK):
                    out.write(block)
        elif member.issym():
            os.symlink(member.linkname, at)
        elif member.islnk():
            os.link(f"/{member.linkname.strip('/')}", at, follow_symlinks=False)
            return
        elif member.isfifo():
            os.mkfifo(at)
        else:
            return
        os.chown(at, member.uid, member.gid, follow_symlinks=False)
        if not member.issym():
            os.chmod(at, member.mode)
        _attributes(member, at)
        os.utime(at, (member.mtime, member.mtime), follow_symlinks=False)

    def _parents(self, folder: str) -> None:
        """Folders on the way that no entry made; a file or a link in the place of one gives way, as under overlayfs."""
        if folder in self._mine or not folder:
            return
        at = ""
        for part in folder.split("/")[1:]:
            at = f"{at}/{part}"
            if at not in self._mine and not _is_folder(at):
                _remove(at)
                os.mkdir(at, 0o755)
        self._mine.add(folder)

    def _hide_all(self, folder: str) -> None:
        """An opaque folder shows nothing of the layers below it."""
        for name in os.listdir(folder or "/"):
            at = f"{folder}/{name}"
            if at not in self._mine:
                _remove(at)

    def close(self) -> None:
        for at, member in sorted(self._folders.items(), reverse=True):
            os.chown(at, member.uid, member.gid)
            os.chmod(at, member.mode)
            os.utime(at, (member.mtime, member.mtime))


def _attributes(member: tarfile.TarInfo, at: str) -> None:
    for key, value in member.pax_headers.items():
        if key.startswith(_ATTRIBUTE):
            # What the file system or the namespace does not take (SELinux's labels, say) means nothing in it either.
            with suppress(OSError):
                raw = value.encode("utf-8", "surrogateescape")
                os.setxattr(at, key.removeprefix(_ATTRIBUTE), raw, follow_symlinks=False)


def _is_folder(at: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(at).st_mode)
    except FileNotFoundError:
        return False


def _remove(at: str) -> None:
    if _is_folder(at):
        shutil.rmtree(at)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(at)
