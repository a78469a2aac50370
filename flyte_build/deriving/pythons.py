"""A Python that is none of Debian's packages → its layer, and what the system layer has to know of it. Pure."""

from __future__ import annotations

from ..assemble.version import ASSEMBLER
from ..kernel.canonical import Json
from ..locks.nouns import LockedPlatform
from .nouns import Artifact, LayerDerivation

__all__ = ["PREFIX", "python_layers", "system_fields"]

PREFIX = "/usr/local"
"""Where it lies, as in the official images: on the search path, and out of the way of Debian's packages."""


def python_layers(locked: LockedPlatform) -> list[LayerDerivation]:
    """One layer, or none where the Python is Debian's."""
    python = locked.python
    if python is None:
        return []
    archive = Artifact(python.sha256, python.size, python.file, python)
    spec: dict[str, Json] = {
        "kind": "python",
        "assembler": ASSEMBLER,
        "title": f"python {python.version} (relocatable)",
        "python": python.minor,
        "prefix": PREFIX,
        "archives": [{"file": archive.file, "sha256": archive.sha256}],
    }
    return [LayerDerivation(spec, (archive,))]


def system_fields(locked: LockedPlatform) -> dict[str, Json]:
    python = locked.python
    if python is None:
        return {}
    return {"interpreter": f"{PREFIX}/bin/python{python.minor}", "version": python.version}
