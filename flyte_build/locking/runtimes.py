"""Which flyte the images hold, said where that is not the one that a user would expect."""

from __future__ import annotations

from collections.abc import Mapping

from ..kernel.reporting import Reporter
from ..locks.nouns import Lock, LockedPlatform
from ..recipe import Recipe

__all__ = ["tell_of_runtimes"]


def tell_of_runtimes(recipes: Mapping[str, Recipe], locks: Mapping[str, Lock], reporter: Reporter) -> None:
    """Warns of each image without flyte, and notes where a uv project brings another than this machine has."""
    for name, recipe in recipes.items():
        platforms = list(locks[name].platforms.values())
        found = sorted({version for p in platforms if (version := _flyte(p)) is not None})
        if not recipe.as_is and any(_flyte(p) is None for p in platforms):
            reporter.warn(
                f"environment {name}: its image holds no flyte package, which every task needs to start; add flyte to "
                "what it installs"
            )
        elif recipe.flyte is not None and found != [recipe.flyte] and any(s.uv is not None for s in recipe.pip_steps):
            reporter.note(
                f"environment {name}: its image has flyte {' and '.join(found)}, as its uv project says; this machine "
                f"has {recipe.flyte}"
            )


def _flyte(platform: LockedPlatform) -> str | None:
    """The version of flyte on a platform: the locked one, else the base's; empty where nobody looked into the base."""
    locked = next((w.version for w in platform.wheels if w.name == "flyte"), None)
    if locked is not None or platform.base is None:
        return locked
    if platform.base.facts is None:
        return ""
    return next((d.version or "" for d in platform.base.facts.distributions if d.name == "flyte"), None)
