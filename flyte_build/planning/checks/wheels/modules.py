"""Modules of wheels: which names make one, and how the check asks for them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from ....locks.nouns import LockedWheel

__all__ = ["FOLDER", "ModulesOf", "modules_among"]

FOLDER = "/"
"""Ends the name of a folder without modules, which can be imported all the same (PEP 420): ``nvidia.cublas/``."""

_SUFFIXES = (".py", ".pyc", ".so")


class ModulesOf(Protocol):
    """What the check asks: SHA-256 → the wheel's modules by full name; absent where they could not be had."""

    def __call__(self, wheels: Sequence[LockedWheel]) -> Mapping[str, frozenset[str]]: ...


def modules_among(members: Iterable[str]) -> frozenset[str]:
    """The modules and regular packages that a wheel with these members installs (PEP 427; extension tags, PEP 3149).

    And its other folders, each with ``FOLDER`` at the end of its name: namespace packages that hold no module.
    """
    found: set[str] = set()
    folders: set[str] = set()
    for member in members:
        parts = member.split("/")
        if parts[0].endswith(".data"):
            if len(parts) < 3 or parts[1] not in ("purelib", "platlib"):
                continue
            parts = parts[2:]
        folder = parts[:-1]
        if "__pycache__" not in folder and all(p.isidentifier() for p in folder):
            folders.update(".".join(folder[:i]) for i in range(1, len(folder) + 1))
        stem, dot, _ = parts[-1].partition(".")
        if not dot or not parts[-1].endswith(_SUFFIXES) or "__pycache__" in parts:
            continue
        parts[-1] = stem
        if stem == "__init__":
            parts.pop()
        if parts and all(p.isidentifier() for p in parts):
            found.add(".".join(parts))
    spaces = {m[:i] for m in found for i, c in enumerate(m) if c == "."}
    return frozenset(found | {f + FOLDER for f in folders - found - spaces})
