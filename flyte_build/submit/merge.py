"""Unpacked layers become a root tree, one over the other (OCI image spec, layer.md, "Applying changesets").

Files are hard links to the layers', which stay as they are. What layers put where a run mounts, or writes, is settled
last: it is the tree's own, whatever links were planted. Knows folders only, neither stores nor images.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..kernel.layer_tar import NOTES, OPAQUE, WHITEOUT, BadLayer, whiteout
from ..kernel.values import dataclass
from .unpack import is_folder, named, place, remove, scoped

__all__ = ["merge"]

# What a run mounts something at, or writes; `..` and absolute targets are a host's where a link is followed there.
_PLACES = (
    "proc", "dev", "sys", "run", "tmp", "var/tmp", "root", "home/flyte", "mnt/flyte", "etc/flyte/secrets",
)  # fmt: skip
_TEXTS = ("etc/passwd", "etc/group", "etc/hosts", "etc/resolv.conf")


def merge(layer: Path, root: Path) -> None:
    """Lay an unpacked layer over ``root``: whiteouts first, then its entries, files as hard links.

    A folder of the layer where the root has a link to a folder goes where the link leads, so that a layer with
    ``lib/…`` works on a base whose ``/lib`` is a link (merged /usr).
    """
    with named(f"layer {layer.name}"):
        folders = list(_walk(str(layer)))
        for folder in folders:
            if folder.hidden:
                _hide(scoped(root, folder.path, follow=True), folder.hidden)
        places = _Places(root)
        for folder in folders:
            into = places.folder(folder.path, folder.mode)
            if folder.names:
                places.fill(into, f"{layer}/{folder.path}" if folder.path else str(layer), folder)
        _settle(root)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder of a layer: its path below that, its mode, what its whiteouts hide, and its files and ``links``."""

    path: str
    mode: int
    hidden: list[str]
    names: list[str]
    links: set[str]


def _walk(layer: str) -> Iterator[_Folder]:
    """Each folder of an unpacked layer, those above first; notes of others left out."""
    below = [("", stat.S_IMODE(os.lstat(layer).st_mode))]
    while below:
        path, mode = below.pop()
        folder, inside = _Folder(path, mode, [], [], set()), []
        with os.scandir(f"{layer}/{path}" if path else layer) as entries:
            for entry in entries:
                name, marked = entry.name, entry.name.startswith(WHITEOUT)
                if entry.is_dir(follow_symlinks=False):
                    if marked:
                        whiteout(name, folder=True)
                    else:
                        inner = f"{path}/{name}" if path else name
                        inside.append((inner, stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)))
                elif not marked:
                    folder.names.append(name)
                    if entry.is_symlink():
                        folder.links.add(name)
                elif (hides := whiteout(name)) is not None and (not name.startswith(NOTES) or name == OPAQUE):
                    folder.hidden.append(hides)
        below += reversed(inside)
        yield folder


class _Places:
    """Where a layer's entries go in ``root``, which nobody else touches meanwhile."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # Folders of the layer that were seen to be folders of the root, with every link followed: path → where.
        self._known: dict[str, str] = {"": str(root)}

    def folder(self, path: str, mode: int) -> str:
        """The root's folder for the layer's at ``path``, made where there is none."""
        if not path:
            return str(self._root)
        above, _, name = path.rpartition("/")
        parent = self._known.get(above)
        place = f"{parent}/{name}"
        try:
            found = os.lstat(place).st_mode if parent is not None else 0
        except FileNotFoundError:
            os.mkdir(place, 0o755)
            found = os.lstat(place).st_mode
        if not stat.S_ISDIR(found):
            place = str(self._led(path))
            found = os.lstat(place).st_mode
        if stat.S_IMODE(found) != mode:
            os.chmod(place, mode)
        self._known[path] = place
        return place

    def _led(self, path: str) -> Path:
        """The same where there are links on the way, or what is there is no folder: that gives way."""
        current = self._root
        for part in scoped(self._root, path, follow=True).relative_to(self._root).parts:
            current = current / part
            if not is_folder(current):
                self._free(current)
                current.mkdir(0o755)
        return current

    def fill(self, into: str, here: str, folder: _Folder) -> None:
        """The files and links of the layer's ``folder``, which is at ``here``, once more in ``into``; what is there
        gives way."""
        # By the folders, for the paths to them are long: half of what it costs is to walk down one.
        with _opened(here) as ours, _opened(into) as theirs:
            for name in folder.names:
                try:
                    if name in folder.links:
                        os.symlink(os.readlink(name, dir_fd=ours), name, dir_fd=theirs)
                    else:
                        os.link(name, name, src_dir_fd=ours, dst_dir_fd=theirs, follow_symlinks=False)
                except OSError:
                    self._free(Path(f"{into}/{name}"))
                    place(Path(f"{here}/{name}"), Path(f"{into}/{name}"))

    def _free(self, target: Path) -> None:
        if os.path.lexists(target):
            remove(target)
            # What was a folder, or led to one, is known no more.
            self._known = {"": str(self._root)}


@contextmanager
def _opened(folder: str) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def _hide(folder: Path, hidden: list[str]) -> None:
    """Obey whiteouts in a folder of lower layers, which may not be there; ``""`` hides all that is in it."""
    if is_folder(folder):
        for name in os.listdir(folder) if "" in hidden else hidden:
            remove(folder / name)


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
        if is_folder(real):
            current.symlink_to(os.path.relpath(real, current.parent))
    elif not current.is_dir():
        current.unlink(missing_ok=True)


def _own_text(root: Path, path: str) -> None:
    """The file at ``path`` is a file of ``root``, never a link that may lead to a host's."""
    current = scoped(root, path)
    if is_folder(current):
        raise BadLayer(f"`{path}` is a folder, expected a file")
    if current.is_symlink():
        real = scoped(root, path, follow=True)
        current.unlink()
        if real.is_file() and not real.is_symlink():
            place(real, current)
