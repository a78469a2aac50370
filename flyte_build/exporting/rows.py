"""A lock's wheels as rows of name, version and marker: what differs between platforms gets a marker, nothing else does.

A lock holds one wheel of each distribution for each of its platforms. A distribution that has the same version on all
of them is one row with the hashes of all its wheels, and an installer takes the one whose tags fit. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..kernel.errors import InputError
from ..locks.nouns import Lock, LockedWheel

__all__ = ["MACHINES", "Row", "chosen_platforms", "rows"]

MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
"""``platform_machine`` by platform, as Python says it on Linux (dependency specifiers, "Environment Markers")."""


@dataclass(frozen=True, slots=True)
class Row:
    """A distribution in one version: its wheels, each once, sorted by file name; ``marker``: where not everywhere."""

    name: str
    version: str
    wheels: tuple[LockedWheel, ...]
    marker: str | None = None


def chosen_platforms(lock: Lock, asked: str | None) -> list[str]:
    """The platforms of ``lock`` that are meant: ``asked``, or all. Raises :class:`InputError` for one it has not."""
    if asked is None or asked == "all":
        return sorted(lock.platforms)
    if asked not in lock.platforms:
        raise InputError(
            f"the lock of {lock.environment} is not for {asked}, but for {', '.join(sorted(lock.platforms))}",
            hint="name one of these with --platform, or give the image that platform and lock again",
        )
    return [asked]


def rows(lock: Lock, platforms: Sequence[str]) -> list[Row]:
    """The rows of ``lock`` on ``platforms``, sorted by name, then by version."""
    found: dict[tuple[str, str], dict[str, LockedWheel]] = {}
    for platform in platforms:
        for wheel in lock.platforms[platform].wheels:
            found.setdefault((wheel.name, wheel.version), {})[platform] = wheel
    out = []
    for (name, version), wheels in sorted(found.items()):
        unique = {w.sha256: w for w in wheels.values()}
        ordered = sorted(unique.values(), key=lambda w: (w.file, w.sha256))
        machines = [f'platform_machine == "{MACHINES[p]}"' for p in platforms if p in wheels]
        marker = " or ".join(machines) if len(wheels) < len(platforms) else None
        out.append(Row(name, version, tuple(ordered), marker))
    return out
