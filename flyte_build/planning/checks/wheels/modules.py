"""Modules of wheels: which names make one, and how the check asks for them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from ....locks.nouns import LockedWheel

__all__ = ["ModulesOf", "modules_among"]

_SUFFIXES = (".py", ".pyc", ".so")


class ModulesOf(Protocol):
    """What the check asks: SHA-256 → the wheel's modules by full name; absent where they could not be had."""

    def __call__(self, wheels: Sequence[LockedWheel]) -> Mapping[str, frozenset[str]]: ...


def modules_among(members: Iterable[str]) -> frozenset[str]:
    """The modules and regular packages that a wheel with these members installs (PEP 427; extension tags, PEP 3149)."""
    found = set()
    for member in members:
        parts = member.split("/")
        if parts[0].endswith(".data"):
            if len(parts) < 3 or parts[1] not in ("purelib", "platlib"):
                continue
            parts = parts[2:]
        stem, dot, _ = parts[-1].partition(".")
        if not dot or not parts[-1].endswith(_SUFFIXES) or "__pycache__" in parts:
            continue
        parts[-1] = stem
        if stem == "__init__":
            parts.pop()
        if parts and all(p.isidentifier() for p in parts):
            found.add(".".join(parts))
    return frozenset(found)
