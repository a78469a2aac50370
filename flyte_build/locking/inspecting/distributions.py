"""The Python distributions in a base, and what has to go for one to be uninstalled. Pure.

``.dist-info`` folders are PyPA's "Recording installed projects"; ``.egg-info`` what older tools and Debian leave. A
RECORD may name half a folder that others use too (``google/``), so a distribution goes by the fewest paths that hold
nothing but its own files.
"""

from __future__ import annotations

import csv
import posixpath
import zlib
from collections.abc import Collection, Sequence
from contextlib import suppress

from packaging.utils import canonicalize_name

from ...locks.base import Distribution
from .tree import Node, Tree

__all__ = ["distributions", "modules"]

_SUFFIXES = (".py", ".pyc", ".so")


def distributions(tree: Tree, sites: Sequence[str], over: str | None) -> list[Distribution]:
    """Those in the folders ``sites``, sorted by name; of one name, the first folder's. ``over``: the folder that our
    own packages go into, where theirs have to make room."""
    found: dict[str, Distribution] = {}
    for site in sites:
        for name, node in sorted(tree.names(site).items()):
            if not name.endswith((".dist-info", ".egg-info")):
                continue
            project, version = _identity(tree, f"{site}/{name}", node)
            if project:
                paths = _paths(tree, site, name) if site == over else ()
                found.setdefault(project, Distribution(project, version, tuple(paths)))
    return [found[name] for name in sorted(found)]


def modules(tree: Tree, sites: Sequence[str]) -> list[str]:
    """The top-level modules and packages that can be imported from ``sites``."""
    found = set()
    for site in sites:
        for name, node in tree.names(site).items():
            stem, dot, _ = name.partition(".")
            importable = node.kind == "dir" or (dot and name.endswith(_SUFFIXES))
            if stem.isidentifier() and stem != "__pycache__" and importable and (dot == "" or node.kind != "dir"):
                found.add(stem)
    return sorted(found)


def _identity(tree: Tree, path: str, node: Node) -> tuple[str, str]:
    """Normalised name and version: of the metadata, else of the file's own name."""
    names = ("METADATA", "PKG-INFO") if node.kind == "dir" else ("",)
    text = next((t for n in names if (t := tree.text(f"{path}/{n}".rstrip("/"))) is not None), "")
    fields = dict(line.split(": ", 1) for line in text.partition("\n\n")[0].splitlines() if ": " in line)
    stem = posixpath.basename(path).rpartition(".")[0]
    name, version = [*stem.split("-"), ""][:2]
    return str(canonicalize_name(fields.get("Name", name))), fields.get("Version", version).strip()


def _paths(tree: Tree, site: str, info: str) -> list[str]:
    """The fewest paths, relative to the root, that hold the distribution's files and no other's."""
    folder = tree.real(site)
    assert folder is not None
    record = tree.file(f"{site}/{info}/RECORD")
    own = {f"{folder}/{info}"}
    if record is not None and record.content is not None:
        own |= {
            posixpath.normpath(posixpath.join(f"/{folder}", row[0])).strip("/") for row in _rows(record.content) if row
        }
    found: set[str] = set()
    for path in own:
        inside = path.startswith(f"{folder}/")
        # Outside of site-packages (scripts, data) folders are everyone's: file by file.
        top = f"{folder}/{path[len(folder) + 1 :].partition('/')[0]}" if inside else path
        node = _node(tree, top)
        if node is not None:
            found |= _cover(top, node, own)
    return sorted(found)


def _rows(packed: bytes) -> list[list[str]]:
    """The rows of a RECORD, as far as it is one."""
    rows: list[list[str]] = []
    with suppress(csv.Error):
        rows.extend(csv.reader(zlib.decompress(packed).decode("utf-8", "replace").splitlines()))
    return rows


def _node(tree: Tree, path: str) -> Node | None:
    parent, _, name = path.rpartition("/")
    return tree.names(parent).get(name)


def _cover(path: str, node: Node, own: Collection[str]) -> set[str]:
    """``path`` alone where all in it is ``own``, else what is, below it."""
    if _all_own(path, node, own):
        return {path}
    if node.kind != "dir":
        return set()
    return set().union(*(_cover(f"{path}/{name}", below, own) for name, below in node.children.items()))


def _all_own(path: str, node: Node, own: Collection[str]) -> bool:
    if path in own:
        return True
    folder, _, name = path.rpartition("/")
    if node.kind != "dir":
        # Byte-code that was made where the distribution was installed is in no RECORD.
        source = f"{posixpath.dirname(folder)}/{name.partition('.')[0]}.py"
        return name.endswith(".pyc") and folder.endswith("/__pycache__") and source in own
    return bool(node.children) and all(_all_own(f"{path}/{n}", below, own) for n, below in node.children.items())
