"""Which flyte the images hold, in words, where that is not the one that a user would expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from ..kernel.canonical import Json
from .nouns import Lock, LockedPlatform

__all__ = ["runtime_notes"]


def runtime_notes(locks: Mapping[str, Lock]) -> list[str]:
    """A line for each image that packages are installed into and flyte is not, and for each whose uv project brings
    another flyte than the machine has that locked it."""
    notes = []
    for name, lock in locks.items():
        platforms = list(lock.platforms.values())
        found = sorted({version for p in platforms if (version := _flyte(p)) is not None})
        recipe = cast("dict[str, Json]", lock.recipe)
        steps = [s for s in cast("list[dict[str, Json]]", recipe["steps"]) if s["kind"] in ("pip", "conda")]
        if steps and any(_flyte(p) is None for p in platforms):
            notes.append(
                f"{name}: the image holds no flyte package, which every task needs to start; add one to its packages"
            )
        elif recipe["flyte"] not in (None, *found) and any("uv" in step for step in steps):
            notes.append(
                f"{name}: the image has flyte {' and '.join(found)}, as its uv project says, and not "
                f"{recipe['flyte']}, which locked it"
            )
    return notes


def _flyte(platform: LockedPlatform) -> str | None:
    """The version of flyte on a platform: the locked one, else the base's; empty where nobody looked into the base."""
    locked = next((w.version for w in platform.wheels if w.name == "flyte"), None)
    if locked is None and platform.conda:
        # What lies beside the environment is not seen from it.
        return next((p.version for p in platform.conda if "flyte" in p.pypi), None)
    if locked is not None or platform.base is None:
        return locked
    if platform.base.facts is None:
        return ""
    return next((d.version or "" for d in platform.base.facts.distributions if d.name == "flyte"), None)
