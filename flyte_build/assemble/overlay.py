"""Layer kind ``overlay``: entries that the plan spells out, contents included, to complete a registry base.

Small texts only (an environment's ``pyvenv.cfg``, accounts), so that the layer needs nothing fetched. Paths that the
plan takes away become whiteouts where layers are arranged (``layer.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .entries import Entry

__all__ = ["overlay_entries"]


def overlay_entries(spec: Mapping[str, Any]) -> list[Entry]:
    """The entries of an ``overlay`` layer, less those that are taken away."""
    return [_entry(row) for row in spec["entries"] if not row.get("removed")]


def _entry(row: Mapping[str, Any]) -> Entry:
    path, mode, uid, gid = row["path"].strip("/"), row["mode"], row["uid"], row["gid"]
    if "text" in row:
        data = row["text"].encode()
        return Entry(path, "file", mode, (data,) if data else (), uid=uid, gid=gid)
    if "link" in row:
        return Entry(path, "symlink", 0o777, link=row["link"], uid=uid, gid=gid)
    return Entry(path, "dir", mode, uid=uid, gid=gid)
