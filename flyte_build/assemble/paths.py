"""What may be a path in a layer. Every path passes here before it is written, wherever it came from."""

from __future__ import annotations

__all__ = ["check_path", "parents"]


_SUSPECT = ("//", "/.", "\0")


def check_path(path: str) -> None:
    """Raises ``ValueError`` with the reason why ``path`` may not be an entry of a layer.

    A path is relative and normal, so that unpacking stays inside the root. A component that begins with
    ``.wh.`` would be a whiteout (OCI image-spec v1.1, layer.md): it deletes, it is not a file.
    """
    if not path:
        raise ValueError("the path is empty")
    if path.isascii() and path[0] not in "/." and path[-1] != "/" and not any(map(path.__contains__, _SUSPECT)):
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
        path.encode()
    except UnicodeEncodeError:
        raise ValueError("the path is not UTF-8") from None


def parents(path: str) -> list[str]:
    """The folders above ``path``, nearest first."""
    found = []
    while "/" in path:
        path = path.rpartition("/")[0]
        found.append(path)
    return found
