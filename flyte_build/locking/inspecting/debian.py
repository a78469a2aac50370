"""dpkg's database in a base: what is installed. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ...kernel.stanzas import stanzas
from .tree import Tree

__all__ = ["installed", "status"]

_STATUS = "var/lib/dpkg/status"
# Images without a package manager have one file a package, under names that scanners know.
_FOLDER = "var/lib/dpkg/status.d"


def status(tree: Tree) -> list[str] | None:
    """The texts of the database, ``None`` where the base has none."""
    names = [_STATUS, *(f"{_FOLDER}/{name}" for name in sorted(tree.names(_FOLDER)))]
    texts = [text for name in names if (text := tree.text(name)) is not None]
    return texts or None


def installed(tree: Tree) -> Iterator[tuple[str, str, str]]:
    """Name, version and architecture of every installed package."""
    for text in status(tree) or ():
        for stanza in stanzas(text):
            name, version = stanza.get("Package"), stanza.get("Version")
            if name and version and str(stanza.get("Status", "installed")).split()[-1:] == ["installed"]:
                yield str(name), str(version), str(stanza.get("Architecture", ""))
