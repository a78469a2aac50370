"""A layer's blob becomes a folder, and folders become a root tree (OCI image spec, layer.md).

Layers may be hostile: no entry escapes the folder, whatever links it plants first; set-user-id bits, devices and
ownership are left out, because the tree belongs to the current user and a task runs without privileges anyway. Other
permission bits are kept. A blob's gzip may have many members. Knows files only, neither stores nor images.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tarfile
from pathlib import Path
from typing import Any, BinaryIO, cast

from isal import igzip, isal_zlib

from ..kernel.errors import ArtifactError
from ..kernel.path_resolution import MOST_LINKS, TooManyLinks, resolve
from ..store.hashing import HashedReader

__all__ = ["merge", "place", "remove_tree", "scoped", "unpack"]

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
GZIP = b"\x1f\x8b"
# What a damaged stream raises; its stub calls it an instance.
_DAMAGE = cast(type[Exception], isal_zlib.error)
ZSTD = b"\x28\xb5\x2f\xfd"


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
        plain: BinaryIO = raw
        if magic[:2] == GZIP:
            opened: Any = igzip  # its functions have no types
            plain = stack.enter_context(opened.IGzipFile(fileobj=raw, mode="rb"))
        stream = HashedReader(plain)
        try:
            with tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as tar:
                for member in tar:
                    _entry(tar, member, into)
            while stream.read(1 << 20):
                pass  # the padding after the archive is part of the diff_id
        except (tarfile.TarError, _DAMAGE, EOFError, OSError) as e:
            if isinstance(e, OSError) and e.errno is not None:
                raise
            raise ArtifactError(f"layer {diff_id}: {e}", hint="run `flyte-build store verify`") from e
    found = f"sha256:{stream.sha256.hexdigest()}"
    if found != diff_id:
        raise ArtifactError(
            f"layer {blob.name}: expected diff_id {diff_id}, found {found}", hint="run `flyte-build store verify`"
        )


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> None:
    name = member.name.strip("/")
    parts = [p for p in name.split("/") if p not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise ArtifactError(f"a layer's entry `{member.name}` leaves the image")
    if not parts:
        return
    target = _make_parent(into, "/".join(parts))
    if member.isdir():
        if not _is_folder(target):
            _remove(target)
            target.mkdir()
        # Kept writable for us; a folder nobody may enter would break the merge and the removal.
        target.chmod(stat.S_IMODE(member.mode) & 0o1777 | 0o700)
        return
    _remove(target)
    if member.isreg():
        source = tar.extractfile(member)
        assert source is not None
        mode = stat.S_IMODE(member.mode) & 0o777 | 0o400
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
            os.fchmod(out.fileno(), mode)
        os.utime(target, (member.mtime, member.mtime))
    elif member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        source_path = scoped(into, member.linkname)
        if not source_path.is_file() or source_path.is_symlink():
            raise ArtifactError(
                f"a layer's hard link `{member.name}` leads to `{member.linkname}`, which is no file of it"
            )
        os.link(source_path, target)
    # Devices, sockets and pipes mean nothing to a user's tree: /dev is made by the sandbox.


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
    for folder, names, files in os.walk(layer):
        here = Path(folder)
        relative = here.relative_to(layer).as_posix()
        into = root if relative == "." else _folder(root, relative)
        if relative != ".":
            into.chmod(stat.S_IMODE(here.lstat().st_mode))
        if OPAQUE in files:
            for child in into.iterdir():
                _remove(child)
        for name in files:
            if name.startswith(WHITEOUT) and name != OPAQUE:
                _remove(into / name.removeprefix(WHITEOUT))
        links = [n for n in names if (here / n).is_symlink()]
        for name in [*files, *links]:
            if not name.startswith(WHITEOUT):
                _remove(into / name)
                place(here / name, into / name)


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
