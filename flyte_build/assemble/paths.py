"""What may be a path in a layer. Every path passes here before it is written, wherever it came from."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["check_name", "check_path", "parents", "printable"]

# C0, DEL and C1 controls, and what overrides the direction of writing (UAX 9).
_CONTROL = re.compile("[\\0-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")
_LONGEST = 255

_SUSPECT = ("//", "/.", "\0")


def check_path(path: str) -> None:
    """Raises ``ValueError`` with the reason why ``path`` may not be an entry of a layer.

    A path is relative and normal, so that unpacking stays inside the root. A component that begins with
    ``.wh.`` would be a whiteout (OCI image-spec v1.1, layer.md): it deletes, it is not a file.
    """
    if not path:
        raise ValueError("the path is empty")
    if (
        len(path) <= _LONGEST
        and path.isascii()
        and path[0] not in "/."
        and path[-1] != "/"
        and not any(map(path.__contains__, _SUSPECT))
    ):
        return  # nearly all paths, and there are many
    if path.startswith("/"):
        raise ValueError("the path is absolute")
    if "\0" in path:
        raise ValueError("the path holds a NUL")
    for component in path.split("/"):
        if component in ("", ".", ".."):
            raise ValueError(f"the path has a component `{component}`")
        if component.startswith(".wh."):
            raise ValueError(f"the path has a component `{component}`, which would be a whiteout in a layer")
    try:
        if any(len(component.encode()) > _LONGEST for component in path.split("/")):
            raise ValueError(f"the path has a component of more than {_LONGEST} bytes, which no file system takes")
    except UnicodeEncodeError:
        raise ValueError("the path is not UTF-8") from None


def check_name(name: str) -> None:
    """Raises ``ValueError`` where a stranger's ``name`` would write to a terminal that shows it.

    What a user calls their own files is their affair, so paths of local files do not pass here.
    """
    if not name.isprintable() and (found := _CONTROL.search(name)):
        raise ValueError(f"the name holds the control character U+{ord(found[0]):04X}")


def parents(path: str) -> Iterator[str]:
    """The folders above ``path``, nearest first."""
    while path := path.rpartition("/")[0]:
        yield path


def printable(text: str) -> str:
    """``text`` for a message: what a terminal must not see is escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
