"""What crashed unpackings left beside roots and layers, and layers of no root."""

from __future__ import annotations

import os
from pathlib import Path

from ..store import locks as locking
from ..store.seal_files import find_listing
from .unpack import remove

__all__ = ["sweep"]


def sweep(roots: Path, layers: Path, locks: Path) -> None:
    """Remove them; what a root was made of lives on in it. Nothing that somebody makes right now goes."""
    used = set()
    for path in roots.glob("*.json"):
        listing = find_listing(path.with_suffix(""))
        if listing is not None and path.with_suffix("").is_dir():
            used |= {diff_id.removeprefix("sha256:") for diff_id in listing.layers}
    for path in (*layers.iterdir(), *roots.iterdir()):
        kind = "layer" if path.parent == layers else "root"
        stem = path.name.partition(".")[0]
        whole = stem in used if kind == "layer" else (roots / stem).is_dir()
        if whole and not path.name.endswith(".partial") and (find_listing(path) or not path.is_dir()):
            continue
        handle = locking.try_acquire(locks / f"{kind}-{stem}")
        if handle is None:
            continue  # somebody is making it right now
        try:
            # A root that is being merged from this layer holds no lock on it, but is partial itself.
            if kind == "root" or not any(roots.glob("*.partial")):
                remove(path)
        finally:
            os.close(handle)
