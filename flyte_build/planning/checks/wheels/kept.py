"""Where what a wheel said of its modules is kept."""

from __future__ import annotations

from pathlib import Path

__all__ = ["kept_at"]


def kept_at(cache: Path, sha256: str) -> Path:
    """The file in the folder ``cache``, which need not be there."""
    return cache / "modules" / f"{sha256}.json"
