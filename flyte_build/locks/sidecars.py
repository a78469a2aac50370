"""``lockfiles/sidecars.lock``: the images of pod templates' other containers, each with the digest that it is.

JSON laid out for review, one image a line, the same bytes for the same content. One file a project: what a name means
is the same in all of its environments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..kernel.errors import LockError
from ..kernel.files import write_whole
from .directory import unwritten
from .reading import DIGEST

__all__ = ["SIDECARS", "read_sidecars", "write_sidecars"]

SIDECARS = "sidecars.lock"
SCHEMA = 1


def read_sidecars(directory: Path) -> dict[str, str]:
    """Digests by image, as templates write it; empty where there is no such file. Raises :class:`LockError`."""
    path = directory / SIDECARS
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as e:
        raise LockError(f"{path}: cannot be read: {e}", hint="run `flyte-build lock` again") from None
    images = found.get("images") if isinstance(found, dict) and found.get("schema") == SCHEMA else None
    if not isinstance(images, dict):
        raise LockError(f"{path}: expected schema {SCHEMA} and `images`", hint="run `flyte-build lock` again")
    for image, digest in images.items():
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise LockError(f"{path}: {image}: expected sha256: and 64 hexadecimal digits, found {digest!r:.80}")
    return dict(images)


def write_sidecars(directory: Path, images: Mapping[str, str]) -> bool:
    """Write ``images``, without any remove the file; whether anything changed. Raises :class:`StoreError`."""
    path = directory / SIDECARS
    text = json.dumps({"schema": SCHEMA, "images": dict(sorted(images.items()))}, indent=2) + "\n"
    try:
        if not images:
            there = path.exists()
            path.unlink(missing_ok=True)
            return there
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return False
        directory.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as e:
        raise unwritten(directory, path.name, e) from e
    return True
