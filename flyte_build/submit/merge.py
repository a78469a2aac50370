"""Unpacked layers become a root tree, one over the other (OCI image spec, layer.md, "Applying changesets").

Files are hard links to the layers', which stay as they are. What layers put where a run mounts, or writes, is settled
last: it is the tree's own, whatever links were planted. Knows folders only, neither stores nor images.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..kernel.layer_tar import NOTES, OPAQUE, WHITEOUT, BadLayer, whiteout
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
                    remove(into / name)
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
    if not hidden or not is_folder(folder):
        return
    for name in list(os.listdir(folder)) if "" in hidden else hidden:
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


def _folder(root: Path, relative: str) -> Path:
    target = scoped(root, relative, follow=True)
    current = root
    for part in target.relative_to(root).parts:
        current = current / part
        if not is_folder(current):
            remove(current)
            current.mkdir(0o755)
    return target
