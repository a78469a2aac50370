"""A layer's blob becomes a folder (OCI image spec, layer.md); ``merge`` makes a root tree of folders.

Layers may be hostile: no entry escapes the folder, whatever links it plants first; set-user-id bits, devices and
ownership are left out, because the tree belongs to the current user and a task runs without privileges anyway. Other
permission bits are kept. A blob's gzip may have many members. Knows files only, neither stores nor images. Most layers
are unpacked by the native core, which leaves here what is not plain; here is what has to come of it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from ..kernel.errors import ArtifactError
from ..kernel.layer_tar import (
    DEPTH,
    GZIP,
    NOTES,
    WHITEOUT,
    ZSTD,
    BadLayer,
    LayerTar,
    damage,
    most_inflated,
    whiteout,
)
from ..kernel.path_resolution import MOST_LINKS, TooManyLinks, resolve
from ..native.unpacking import unpack as natively
from ..store.seal_files import lies

__all__ = ["is_folder", "named", "place", "remove", "remove_tree", "scoped", "unpack"]

# What a file system says to a name, or a chain of them, that it cannot hold.
_IMPOSSIBLE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EILSEQ)
_LAST = 1 << 33
_EMPTY = hashlib.sha256().hexdigest()
_BLOCK = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(blob: Path, diff_id: str, into: Path, doubt: Callable[[], object] = bool) -> dict[int, tuple[str, str]]:
    """Unpack a layer's blob (tar, or tar in gzip) into the existing empty folder ``into``.

    Gives how each file that was written lies now (``MODE INODE SIZE MTIME``, see ``store.sealed``) and the SHA-256 in
    hex of what was written to it, by inode. Raises :class:`ArtifactError` when the stream
    is not the one with ``diff_id`` (``sha256:<hex>``), is no tar, or holds an entry that would escape. Whiteouts are
    kept as files under their names; ``merge`` obeys them. ``doubt`` is called, and may raise, before anything is said
    of a blob that the core did not find to be the tar with ``diff_id``: it may not be the bytes that it should.
    """
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(open(blob, "rb"))
        magic = raw.read(4)
        raw.seek(0)
        limit = most_inflated(os.fstat(raw.fileno()).st_size)
        if magic[:2] == GZIP and (made := natively(blob, diff_id, into, limit)) is not None:
            return made
        doubt()
        if magic == ZSTD:
            raise ArtifactError(
                f"layer {diff_id} is compressed with zstd, expected gzip",
                hint="rebuild or copy the base image with gzip layers (`skopeo copy --dest-compress-format gzip`)",
            )
        for name in os.listdir(into):
            remove(into / name)
        tar = LayerTar(raw, compressed=magic[:2] == GZIP, limit=limit)
        unpacking = _Unpacking(into)
        with named(f"layer {diff_id}"):
            for member, path, content in tar.members():
                with damage():
                    unpacking.entry(member, path, content)
            tar.drain()
    if tar.digest != diff_id:
        raise ArtifactError(
            f"layer {blob.name}: expected diff_id {diff_id}, found {tar.digest}", hint="run `flyte-build store verify`"
        )
    return unpacking.written


@contextlib.contextmanager
def named(title: str) -> Iterator[None]:
    """What a layer does that none may, or that no file system lets it, names the layer."""
    try:
        yield
    except BadLayer as e:
        raise ArtifactError(f"{title}: {e}", hint="run `flyte-build store verify`") from e
    except OSError as e:
        if e.errno not in _IMPOSSIBLE:
            raise
        raise ArtifactError(f"{title}: no file system takes an entry of it: {e.strerror}") from e


class _Unpacking:
    """One layer on its way into the folder ``into``, which nobody else touches meanwhile."""

    def __init__(self, into: Path) -> None:
        self._into = into
        self.written: dict[int, tuple[str, str]] = {}
        # Folders that were seen to be folders, with no link on the way: most entries have the parent of the last one.
        self._folders: dict[str, str] = {}

    def entry(self, member: tarfile.TarInfo, path: str, content: IO[bytes] | None) -> None:
        if not path:
            return
        hidden = whiteout(path)
        if hidden == NOTES:
            return
        target = self._place(path)
        if hidden is not None:
            self._free(target)
            _create(target)
        elif member.isdir():
            # Kept writable for us; a folder nobody may enter would break the merge and the removal.
            try:
                os.mkdir(target)
            except FileExistsError:
                if not is_folder(Path(target)):
                    self._free(target)
                    os.mkdir(target)
            os.chmod(target, stat.S_IMODE(member.mode) & 0o1777 | 0o700)
        elif content is not None:
            self._file(member, target, content)
        elif member.issym():
            self._free(target)
            os.symlink(member.linkname, target)
        elif member.islnk():
            self._free(target)
            source = scoped(self._into, member.linkname)
            if not source.is_file() or source.is_symlink():
                raise BadLayer(f"the hard link `{path}` leads to `{member.linkname}`, which is no file of it")
            place(source, Path(target))
            # Where the file system has no hard links, it is a copy.
            _, digest = self.written.get(source.lstat().st_ino, ("", _EMPTY))
            found = os.lstat(target)
            self.written[found.st_ino] = lies(found), digest
        else:
            # Devices, sockets and pipes mean nothing to a user's tree (/dev is made by the sandbox), but they hide
            # what is below them.
            self._free(target)
            folder, _, name = target.rpartition("/")
            self._free(f"{folder}/{WHITEOUT}{name}")
            _create(f"{folder}/{WHITEOUT}{name}")

    def _file(self, member: tarfile.TarInfo, target: str, content: IO[bytes]) -> None:
        mode = stat.S_IMODE(member.mode) & 0o777 | 0o400
        mtime = min(max(member.mtime, 0), _LAST) if member.mtime == member.mtime else 0
        try:
            out = os.open(target, _NEW, 0o600)
        except FileExistsError:
            self._free(target)
            out = os.open(target, _NEW, 0o600)
        digest = hashlib.sha256()
        try:
            while block := content.read(_BLOCK):
                digest.update(block)
                view = memoryview(block)
                while view:
                    view = view[os.write(out, view) :]
            os.fchmod(out, mode)
            os.utime(out, (mtime, mtime))
            found = os.fstat(out)
            self.written[found.st_ino] = lies(found), digest.hexdigest()
        finally:
            os.close(out)

    def _place(self, path: str) -> str:
        """Where ``path`` is in the folder, on the host: its parents are made where they are missing."""
        parent, _, name = path.rpartition("/")
        folder = self._folders.get(parent)
        if folder is None:
            folder = self._folders[parent] = str(_make_parent(self._into, path).parent)
        return f"{folder}/{name}"

    def _free(self, target: str) -> None:
        """Make room: the later entry wins. What was a folder, or led to one, is known no more."""
        try:
            os.unlink(target)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError):
            remove(Path(target))
        self._folders.clear()


def _create(path: str) -> None:
    os.close(os.open(path, _NEW, 0o644))


def scoped(root: Path, path: str, *, follow: bool = False) -> Path:
    """``path`` under ``root`` with every link in its *parents* followed as if ``root`` were ``/``.

    The last component is followed only with ``follow``. Raises :class:`ArtifactError` after too many links.
    """

    def link_of(parts: list[str], last: bool) -> str | None:
        here = root.joinpath(*parts)
        return os.readlink(here) if (follow or not last) and here.is_symlink() else None

    try:
        return root.joinpath(*resolve(path, link_of))
    except TooManyLinks:
        raise ArtifactError(f"`{path}` passes more than {MOST_LINKS} links in a layer") from None


def _make_parent(root: Path, path: str) -> Path:
    """:func:`scoped`, with missing parents made; a file in a parent's place gives way (the later entry wins)."""
    target = scoped(root, path)
    if len(target.relative_to(root).parts) > DEPTH:
        raise BadLayer(f"`{path[:40]}…` leads more than {DEPTH} folders deep")
    current = root
    for part in target.relative_to(root).parts[:-1]:
        current = current / part
        if not is_folder(current):
            remove(current)
            current.mkdir(0o755)
    return target


def is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def remove(path: Path) -> None:
    if is_folder(path):
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a folder even where its owner may not write in it."""

    def again(function: object, name: str, _: object) -> None:
        parent = os.path.dirname(name)
        os.chmod(parent, 0o700)
        if os.path.isdir(name) and not os.path.islink(name):
            os.chmod(name, 0o700)
            shutil.rmtree(name, onerror=lambda *_: None)
        else:
            os.unlink(name)

    if path.is_symlink() or path.exists():
        shutil.rmtree(path, onerror=again)


def place(source: Path, target: Path) -> None:
    """``source`` once more at ``target``: a link is copied as a link, a file linked, or copied where it cannot be."""
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
