"""A layer's blob becomes a folder, and folders become a root tree (OCI image spec, layer.md).

Layers may be hostile: no entry escapes the folder, whatever links it plants first; set-user-id bits, devices and
ownership are left out, because the tree belongs to the current user and a task runs without privileges anyway. Other
permission bits are kept. A blob's gzip may have many members. Knows files only, neither stores nor images.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..kernel.errors import ArtifactError
from ..kernel.layer_tar import (
    DEPTH,
    GZIP,
    NOTES,
    OPAQUE,
    WHITEOUT,
    ZSTD,
    BadLayer,
    LayerTar,
    damage,
    most_inflated,
    whiteout,
)
from ..kernel.path_resolution import MOST_LINKS, TooManyLinks, resolve

__all__ = ["merge", "place", "remove_tree", "scoped", "unpack"]

# What a file system says to a name, or a chain of them, that it cannot hold.
_IMPOSSIBLE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EILSEQ)
_LAST = 1 << 33
# What a run mounts something at, or writes; `..` and absolute targets are a host's where a link is followed there.
_PLACES = (
    "proc", "dev", "sys", "run", "tmp", "var/tmp", "root", "home/flyte", "mnt/flyte", "etc/flyte/secrets",
)  # fmt: skip
_TEXTS = ("etc/passwd", "etc/group", "etc/hosts", "etc/resolv.conf")


def unpack(blob: Path, diff_id: str, into: Path) -> None:
    """Unpack a layer's blob (tar, or tar in gzip) into the existing empty folder ``into``.

    Raises :class:`ArtifactError` when the stream is not the one with ``diff_id`` (``sha256:<hex>``), is no tar, or
    holds an entry that would escape. Whiteouts are kept as files under their names; :func:`merge` obeys them.
    """
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(open(blob, "rb"))
        magic = raw.read(4)
        raw.seek(0)
        if magic == ZSTD:
            raise ArtifactError(
                f"layer {diff_id} is compressed with zstd, expected gzip",
                hint="rebuild or copy the base image with gzip layers (`skopeo copy --dest-compress-format gzip`)",
            )
        tar = LayerTar(raw, compressed=magic[:2] == GZIP, limit=most_inflated(os.fstat(raw.fileno()).st_size))
        with _named(f"layer {diff_id}"):
            for member, path, content in tar.members():
                with damage():
                    _entry(member, path, content, into)
            tar.drain()
    if tar.digest != diff_id:
        raise ArtifactError(
            f"layer {blob.name}: expected diff_id {diff_id}, found {tar.digest}", hint="run `flyte-build store verify`"
        )


@contextlib.contextmanager
def _named(title: str) -> Iterator[None]:
    """What a layer does that none may, or that no file system lets it, names the layer."""
    try:
        yield
    except BadLayer as e:
        raise ArtifactError(f"{title}: {e}", hint="run `flyte-build store verify`") from e
    except OSError as e:
        if e.errno not in _IMPOSSIBLE:
            raise
        raise ArtifactError(f"{title}: no file system takes an entry of it: {e.strerror}") from e


def _entry(member: tarfile.TarInfo, path: str, content: IO[bytes] | None, into: Path) -> None:
    if not path:
        return
    hidden = whiteout(path)
    if hidden == NOTES:
        return
    target = _make_parent(into, path)
    if hidden is not None:
        _remove(target)
        target.touch()
        return
    if member.isdir():
        if not _is_folder(target):
            _remove(target)
            target.mkdir()
        # Kept writable for us; a folder nobody may enter would break the merge and the removal.
        target.chmod(stat.S_IMODE(member.mode) & 0o1777 | 0o700)
        return
    _remove(target)
    if content is not None:
        mode = stat.S_IMODE(member.mode) & 0o777 | 0o400
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as out:
            shutil.copyfileobj(content, out, 1 << 20)
            os.fchmod(out.fileno(), mode)
        mtime = min(max(member.mtime, 0), _LAST) if member.mtime == member.mtime else 0
        os.utime(target, (mtime, mtime))
    elif member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        source = scoped(into, member.linkname)
        if not source.is_file() or source.is_symlink():
            raise BadLayer(f"the hard link `{path}` leads to `{member.linkname}`, which is no file of it")
        place(source, target)
    else:
        # Devices, sockets and pipes mean nothing to a user's tree (/dev is made by the sandbox), but they hide
        # what is below them.
        target.with_name(f"{WHITEOUT}{target.name}").touch()


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
        if not _is_folder(current):
            _remove(current)
            current.mkdir(0o755)
    return target


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(path: Path) -> None:
    if _is_folder(path):
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


def merge(layer: Path, root: Path) -> None:
    """Lay an unpacked layer over ``root``: whiteouts first, then its entries, files as hard links.

    A folder of the layer where the root has a link to a folder goes where the link leads, so that a layer with
    ``lib/…`` works on a base whose ``/lib`` is a link (merged /usr).
    """
    with _named(f"layer {layer.name}"):
        for folder, _, files in _walk(layer):
            _hide(scoped(root, folder, follow=True), files)
        for folder, names, files in _walk(layer):
            here = layer / folder
            into = _folder(root, folder)
            if folder:
                into.chmod(stat.S_IMODE(here.lstat().st_mode))
            links = [n for n in names if (here / n).is_symlink()]
            for name in [*files, *links]:
                if not name.startswith(WHITEOUT):
                    _remove(into / name)
                    place(here / name, into / name)
        _settle(root)


def _walk(layer: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each folder of an unpacked layer, relative, with what is in it; notes of others left out."""
    for folder, names, files in os.walk(layer):
        for name in [n for n in names if n.startswith(WHITEOUT)]:
            whiteout(name, folder=True)
            names.remove(name)
        relative = os.path.relpath(folder, layer)
        yield "" if relative == "." else relative, names, [n for n in files if not n.startswith(NOTES) or n == OPAQUE]


def _hide(folder: Path, files: list[str]) -> None:
    """Obey the whiteouts among ``files`` in a folder of lower layers, which may not be there."""
    hidden = [name for file in files if (name := whiteout(file)) is not None]
    if not hidden or not _is_folder(folder):
        return
    for name in list(os.listdir(folder)) if "" in hidden else hidden:
        _remove(folder / name)


def _settle(root: Path) -> None:
    """What a run mounts at or writes is ``root``'s own, whatever links a layer put in its place or above it."""
    for path in (*_PLACES, *_TEXTS):
        parts = path.split("/")
        for depth in range(1, len(parts)):
            _own_folder(root, "/".join(parts[:depth]))
    for path in _PLACES:
        current = scoped(root, path)
        if current.is_symlink() or not current.is_dir():
            current.unlink(missing_ok=True)
    for path in _TEXTS:
        _own_text(root, path)


def _own_folder(root: Path, path: str) -> None:
    """At ``path`` is a folder of ``root`` or nothing, or a link that stays in it whoever follows it."""
    current = scoped(root, path)
    if current.is_symlink():
        real = scoped(root, path, follow=True)
        current.unlink()
        if _is_folder(real):
            current.symlink_to(os.path.relpath(real, current.parent))
    elif not current.is_dir():
        current.unlink(missing_ok=True)


def _own_text(root: Path, path: str) -> None:
    """The file at ``path`` is a file of ``root``, never a link that may lead to a host's."""
    current = scoped(root, path)
    if _is_folder(current):
        raise BadLayer(f"`{path}` is a folder, expected a file")
    if current.is_symlink():
        real = scoped(root, path, follow=True)
        current.unlink()
        if real.is_file() and not real.is_symlink():
            place(real, current)


def _folder(root: Path, relative: str) -> Path:
    target = scoped(root, relative, follow=True)
    current = root
    for part in target.relative_to(root).parts:
        current = current / part
        if not _is_folder(current):
            _remove(current)
            current.mkdir(0o755)
    return target


def place(source: Path, target: Path) -> None:
    """``source`` once more at ``target``: a link is copied as a link, a file linked, or copied where it cannot be."""
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
