"""One path of an image as a value, from each of the places that describe one, and when two of them differ.

A layer's listing knows a file's CRC-32, a derivation its SHA-256, a tar stream both. Two files whose content is known
by different sums differ, or they may not: that is a third answer. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from ..kernel.canonical import Json

__all__ = ["OPAQUE", "WHITEOUT", "File", "differs", "of_identity", "of_row"]

# OCI image-spec v1.1, layer.md, "Whiteouts".
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"

Kind = Literal["file", "folder", "link", "hardlink", "device"]
_KINDS: dict[str, Kind] = {"f": "file", "d": "folder", "l": "link", "h": "hardlink"}
_OWNED = re.compile(r"(?P<rest>.*) (?P<owner>\d+:\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class File:
    """What is at a path: ``mode`` the permission bits (files and folders), ``size`` in bytes, ``link`` the target of a
    symlink, the path a hard link shares its content with, or a device's numbers; ``owner`` is ``uid:gid``."""

    kind: Kind
    mode: int | None = None
    size: int | None = None
    crc32: str | None = None
    sha256: str | None = None
    link: str | None = None
    owner: str = "0:0"

    def to_json(self) -> Json:
        mode = None if self.mode is None else f"{self.mode:04o}"
        out: dict[str, Json] = {"kind": self.kind, "owner": self.owner, "mode": mode}
        for key in ("size", "crc32", "sha256", "link"):
            if (value := getattr(self, key)) is not None:
                out[key] = value
        return {k: v for k, v in out.items() if v is not None}


def differs(a: File, b: File) -> bool | None:
    """Whether two files differ; ``None`` where what both know does not tell."""
    if (a.kind, a.mode, a.size, a.link, a.owner) != (b.kind, b.mode, b.size, b.link, b.owner):
        return True
    if a.kind != "file":
        return False
    if a.sha256 is not None and b.sha256 is not None:
        return a.sha256 != b.sha256
    if a.crc32 is not None and b.crc32 is not None:
        return a.crc32 != b.crc32
    return None if a.size else False


def of_identity(identity: str) -> File:
    """One value of a layer's listing (:class:`flyte_build.assemble.blob.BlobResult`), such as ``f 0644 12 0a1b2c3d``.

    Raises ``ValueError`` for anything else.
    """
    letter, _, rest = identity.partition(" ")
    owned = _OWNED.fullmatch(rest)
    rest, owner = (owned["rest"], owned["owner"]) if owned else (rest, "0:0")
    kind = _KINDS.get(letter)
    if kind == "file":
        mode, size, crc32 = rest.split(" ")
        return File(kind, int(mode, 8), int(size), crc32, owner=owner)
    if kind == "folder":
        return File(kind, int(rest, 8), owner=owner)
    if kind is None:
        raise ValueError(f"expected an entry of a layer's listing, found {identity!r}")
    return File(kind, link=rest, owner=owner)


def of_row(row: Mapping[str, Json]) -> File:
    """One row of a ``files`` layer's spec."""
    owner = f"{row['uid']}:{row['gid']}"
    mode = cast(int, row["mode"])
    if "sha256" in row:
        return File("file", mode, cast(int, row["size"]), sha256=str(row["sha256"]), owner=owner)
    if "link" in row:
        return File("link", link=str(row["link"]), owner=owner)
    return File("folder", mode, owner=owner)
