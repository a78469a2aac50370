"""Makes the places in a sandbox's root at which a pod mounts something, where the image has none.

An image's root is read-only and shared, so a root that lacks a place is replaced by folders of the attempt's own, as
far down as needed, in which all that the image has there is mounted again. Nothing runs in it meanwhile, and every path
is resolved below the image's root.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ..kubernetes.errors import Unplaceable
from ..sandbox.spec import Mount, Sandbox
from ..unpack import scoped

__all__ = ["with_places"]

# What is as good copied as mounted: an image's /etc has hundreds of small files.
_SMALL = 1 << 18


def with_places(box: Sandbox, scratch: Path, own: tuple[Mount, ...]) -> Sandbox:
    """``box`` with the mounts ``own`` besides, and with a place for each of those and of ``late``.

    What ``own`` has for a place that ``box`` mounts something at takes its place. ``scratch`` is a folder of the
    attempt's own, whose ``root`` is made here. Raises :class:`Unplaceable` for a place in a folder that is read-only.
    """
    own = tuple(replace(m, target=_inside(box.root, m.target)) for m in own)
    late = tuple(replace(t, target=_inside(box.root, t.target)) for t in box.late)
    wanted = {m.target for m in own} | {t.target for t in late}
    mounts = tuple(m for m in box.mounts if m.target not in wanted)
    lacking = []
    everything = (*mounts, *own)
    for target in sorted({*wanted, *(m.target for m in mounts)}):
        above = _above(target, everything)
        if above is None and not any(_below(target, t.target) for t in box.tmpfs):
            lacking.append(target)
        elif above is not None:
            _make(above, target, folder=_is_folder(target, everything))
    files = {m.target for m in everything if not m.source.is_dir()}
    ordered = (*mounts, *sorted(own, key=lambda m: m.target))
    box = replace(box, mounts=ordered, late=late)
    if all(_there(box.root, target, file=target in files) for target in lacking):
        return box
    others = [m.target for m in mounts if _above(m.target, mounts) is None]
    points = {*lacking, *others, *(t.target for t in box.tmpfs), "/proc", "/dev"}
    made = scratch / "root"
    made.mkdir()
    shown = _Skeleton(box.root, points).make(made)
    for target in lacking:
        _place(made / target[1:], folder=target not in files)
    return replace(box, root=made, mounts=(*shown, *box.mounts))


class _Skeleton:
    """Folders on the way to ``points`` (paths inside) are made anew, and all that is beside that way is shown."""

    def __init__(self, root: Path, points: set[str]) -> None:
        self._root, self._points = root, points
        self._open = {str(p) for point in points for p in PurePosixPath(point).parents}

    def make(self, made: Path) -> list[Mount]:
        shown: list[Mount] = []
        for folder in sorted(self._open):
            source, target = self._root / folder[1:], made / folder[1:]
            target.mkdir(parents=True, exist_ok=True)
            if source.is_dir() and not source.is_symlink():
                shutil.copymode(source, target)
                with os.scandir(source) as entries:
                    for entry in entries:
                        self._entry(entry, f"{folder.rstrip('/')}/{entry.name}", target / entry.name, shown)
        return shown

    def _entry(self, entry: os.DirEntry[str], path: str, target: Path, shown: list[Mount]) -> None:
        if path in self._open:
            return
        if entry.is_symlink():
            target.symlink_to(os.readlink(entry.path))
        elif entry.is_dir(follow_symlinks=False):
            target.mkdir()
            if path not in self._points:
                shown.append(Mount(Path(entry.path), path))
        elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            if path in self._points or entry.stat().st_size > _SMALL:
                target.touch()
            if path not in self._points:
                if entry.stat().st_size <= _SMALL:
                    shutil.copy2(entry.path, target)
                else:
                    shown.append(Mount(Path(entry.path), path))


def _inside(root: Path, target: str) -> str:
    """``target`` as it is once every link of the image is followed."""
    return "/" + scoped(root, target, follow=True).relative_to(root).as_posix()


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _above(target: str, mounts: tuple[Mount, ...]) -> Mount | None:
    """The mount in whose folder ``target`` lies."""
    found = [m for m in mounts if m.target != target and _below(target, m.target)]
    return max(found, key=lambda m: len(m.target), default=None)


def _is_folder(target: str, mounts: tuple[Mount, ...]) -> bool:
    return all(m.target != target or m.source.is_dir() for m in mounts)


def _make(above: Mount, target: str, *, folder: bool) -> None:
    """A place in the folder that another mount shows, which is the attempt's own."""
    place = scoped(above.source, target[len(above.target) :])
    if os.path.lexists(place):
        return
    if not above.writable:
        raise Unplaceable(f"a pod template mounts at {target}, in {above.target}, which is read-only")
    _place(place, folder=folder)


def _place(place: Path, *, folder: bool) -> None:
    if os.path.lexists(place):
        return
    if folder:
        place.mkdir(parents=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def _there(root: Path, target: str, *, file: bool) -> bool:
    place = root / target[1:]
    return place.is_file() if file else place.is_dir()
