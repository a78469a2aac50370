"""What is worth keeping between runs: wheels' metadata and lists of files by their hash, and where one was seen.

All are caches: nothing is wrong without them, and a cache that cannot be written is passed over. The
metadata and files of a hash never change. A place does, so it is kept apart by the index settings it was found
under and is a hint only; it is no part of a lock (law 1).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

from ...kernel.paths import cache_dir
from ...kernel.struck import struck
from .http import without_userinfo
from .metadata import WheelMetadata
from .settings import IndexSettings

__all__ = ["place", "read_entries", "read_metadata", "remember_place", "write_entries", "write_metadata"]


def _metadata_path(sha256: str) -> Path:
    return cache_dir() / "metadata" / f"{sha256}.json"


def read_metadata(sha256: str) -> WheelMetadata | None:
    try:
        raw = json.loads(_metadata_path(sha256).read_text(encoding="utf-8"))
        return WheelMetadata(sha256, int(raw["size"]), tuple(map(str, raw["requires"])), raw["requires_python"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def write_metadata(found: WheelMetadata) -> None:
    body = {"size": found.size, "requires": list(found.requires), "requires_python": found.requires_python}
    _write(_metadata_path(found.sha256), json.dumps(body))


def _entries_path(sha256: str) -> Path:
    return cache_dir() / "metadata" / f"{sha256}.files"


def read_entries(sha256: str) -> list[str] | None:
    """What :func:`.metadata.entries` says of the wheel with this hash, where somebody has looked."""
    try:
        found = json.loads(_entries_path(sha256).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return list(map(str, found)) if isinstance(found, list) else None


def write_entries(sha256: str, entries: list[str]) -> None:
    """Keep what was read off the wheel."""
    _write(_entries_path(sha256), json.dumps(entries))


def _place_path(settings: IndexSettings, sha256: str) -> Path:
    asked = [*(without_userinfo(i.url)[0] for i in settings.indexes), *settings.find_links]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
    return cache_dir() / "locations" / key / sha256


def place(settings: IndexSettings, sha256: str) -> str | None:
    """The URL where the file with this hash was last seen under these settings."""
    try:
        return _place_path(settings, sha256).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def remember_place(settings: IndexSettings, sha256: str, url: str) -> None:
    """Keep ``url`` (without credentials; one whose path is secret is not kept); local files need no memory."""
    bare, _ = without_userinfo(url)
    if not url.startswith("file:") and struck(bare) == bare:
        _write(_place_path(settings, sha256), bare)


def _write(path: Path, text: str) -> None:
    try:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as f:
            f.write(text)
        os.replace(temporary, path)
    except (OSError, UnicodeDecodeError):
        return
