"""An attempt's folders on this machine: which are counted, what is taken over of them, and how they go."""

from __future__ import annotations

from pathlib import Path

from ..kernel.cgroups import Group
from . import door
from .removal import remove_left
from .sandbox.spec import Mount
from .usage import Place

__all__ = ["clean", "copy", "own_places"]


def own_places(mounts: tuple[Mount, ...], scratch: Path) -> list[Place]:
    """The folders that end with the attempt."""
    return [Place(m.source, "", m.target) for m in mounts if m.writable and m.source.parent == scratch]


def copy(source: Path, below: str, target: Path, limit: int) -> None:
    """Take the file ``below`` the folder ``source`` over to ``target``; raises OSError for what may not be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with door.folder(source) as top, door.folder(target.parent) as kept:
        door.take(top, below, kept, target.name, limit)


def clean(scratch: Path, group: Group | None) -> None:
    """Remove the group and the folders, when nothing runs in them any more."""
    if group is not None:
        group.remove()
    remove_left(scratch)
