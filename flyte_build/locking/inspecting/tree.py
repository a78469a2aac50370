"""The tree that stacked layers make: what is at each path, whiteouts obeyed (image-spec v1.1, layer.md). Pure.

Paths are relative to the root, without a leading slash. Names, modes and owners only, and the content of the few files
that somebody kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from ...kernel.path_resolution import Nowhere, resolve

__all__ = ["Node", "Tree"]

Kind = Literal["file", "dir", "symlink", "other"]


@dataclass(slots=True)
class Node:
    """What is at a path. ``layer`` is the number of the layer that put it there; ``link`` a symlink's target."""

    kind: Kind
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    size: int = 0
    link: str = ""
    content: bytes | None = None
    layer: int = 0
    children: dict[str, Node] = field(default_factory=dict)


class Tree:
    """Grows layer by layer, lowest first; every entry of a layer is added with its number."""

    def __init__(self) -> None:
        self.root = Node("dir")

    # -- growing -----------------------------------------------------------------------------------

    def add(self, path: str, node: Node) -> None:
        """Put ``node`` at ``path``."""
        folder, _, name = path.rpartition("/")
        parent = self._make(folder, node.layer)
        there = parent.children.get(name)
        if node.kind == "dir" and there is not None and there.kind == "dir":
            node.children = there.children
        parent.children[name] = node

    def hide(self, folder: str, name: str, layer: int) -> None:
        """Obey a whiteout of ``layer``: what lower layers brought as ``name`` in ``folder`` goes; all for ``""``."""
        where = self._at(folder)
        if where is not None and not name:
            _remove_lower(where, layer)
        elif where is not None:
            hidden = where.children.get(name)
            if hidden is not None and not _remove_lower(hidden, layer):
                del where.children[name]

    def link(self, path: str, target: str, layer: int) -> bool:
        """Put a hard link to ``target`` at ``path``; whether there is a file of that name."""
        found = self._at(target)
        if found is None or found.kind not in ("file", "symlink"):
            return False
        same = Node(found.kind, found.mode, found.uid, found.gid, found.size, found.link, found.content, layer)
        self.add(path, same)
        return True

    def _make(self, folder: str, layer: int) -> Node:
        node = self.root
        for part in folder.split("/") if folder else ():
            below = node.children.get(part)
            if below is None or below.kind != "dir":
                below = node.children[part] = Node("dir", layer=layer)
            node = below
        return node

    def _at(self, path: str) -> Node | None:
        """The very node at ``path``; no link is followed."""
        node: Node | None = self.root
        for part in path.split("/") if path else ():
            node = node.children.get(part) if node is not None else None
        return node

    # -- asking ------------------------------------------------------------------------------------

    def real(self, path: str) -> str | None:
        """``path``, absolute or not, with every link followed as a process with this root would: relative to the root,
        ``""`` for the root itself; ``None`` where it leads nowhere."""

        def link_of(parts: list[str], last: bool) -> str | None:
            node = self._at("/".join(parts))
            if node is None:
                raise Nowhere
            return node.link if node.kind == "symlink" else None

        try:
            return "/".join(resolve(path, link_of))
        except Nowhere:
            return None

    def get(self, path: str) -> Node | None:
        """What is at ``path``, links followed."""
        real = self.real(path)
        return self._at(real) if real is not None else None

    def file(self, path: str) -> Node | None:
        """The regular file at ``path``, links followed."""
        found = self.get(path)
        return found if found is not None and found.kind == "file" else None

    def text(self, path: str) -> str | None:
        """The content of the file at ``path``, if it was kept."""
        found = self.file(path)
        return found.content.decode("utf-8", "replace") if found is not None and found.content is not None else None

    def names(self, path: str) -> dict[str, Node]:
        """What is in the folder ``path``, by name; nothing where it is none."""
        found = self.get(path)
        return found.children if found is not None and found.kind == "dir" else {}

    def plain(self, path: str) -> bool:
        """Whether ``path`` and all folders above it are root's with mode 0755, as far as they exist."""
        node: Node | None = self.root
        for part in path.strip("/").split("/"):
            node = node.children.get(part) if node is not None else None
            if node is None:
                return True
            if node.kind != "dir" or (node.mode, node.uid, node.gid) != (0o755, 0, 0):
                return False
        return True

    def folders(self, path: str, depth: int) -> Iterator[str]:
        """The folders below ``path``, ``depth`` levels deep; links to folders are none."""
        for name, node in self.names(path).items():
            below = f"{path}/{name}" if path else name
            if node.kind == "dir":
                yield below
                if depth > 1:
                    yield from self.folders(below, depth - 1)


def _remove_lower(node: Node, layer: int) -> bool:
    """Take away what lower layers put below ``node``; whether it stays, for it or something below is this layer's."""
    kept = False
    for name, below in list(node.children.items()):
        if _remove_lower(below, layer):
            kept = True
        else:
            del node.children[name]
    return kept or node.layer == layer
