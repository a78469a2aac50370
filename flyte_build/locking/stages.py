"""The bases of a recipe's stages, locked: kept where a lock has them, else what their names lead to now.

What is found in them is kept as far as a stage needs it. Chooses no package, runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol, cast

from ..kernel.canonical import Json
from ..locks.base import LockedBase
from ..locks.nouns import Lock, LockedPlatform
from ..locks.stages import LockedStage
from ..recipe import Platform, Recipe, RegistryBase

__all__ = ["Locker", "stages", "unsealed"]


class Locker(Protocol):
    """What locks a base by its name: :class:`flyte_build.locking.bases.Systems`."""

    def named(self, base: RegistryBase, platform: Platform, kept: LockedBase | None) -> LockedBase: ...


def stages(
    recipe: Recipe, platform: Platform, locker: Locker, locks: Mapping[str, Lock], *, anew: bool
) -> tuple[LockedStage, ...]:
    """A row for each stage of ``recipe``, without seals. ``locks`` are those that are there: an image that one of them
    has under this name stays, unless all is chosen ``anew``."""
    found = []
    for stage in recipe.stages:
        base = None
        if isinstance(stage.base, RegistryBase):
            kept = None if anew else _kept(stage.base, platform, locks)
            base = _short(locker.named(stage.base, platform, kept))
        found.append(LockedStage(base))
    return tuple(found)


def unsealed(lock: Lock) -> Lock:
    """Seals belong to what is below them: which of them still hold is not known where locks are made."""
    if not any(platform.every_seal for platform in lock.platforms.values()):
        return lock
    return replace(lock, platforms={name: _bare(p) for name, p in lock.platforms.items()})


def _bare(part: LockedPlatform) -> LockedPlatform:
    return replace(part, seals=(), stages=tuple(replace(stage, seals=()) for stage in part.stages))


def _kept(base: RegistryBase, platform: str, locks: Mapping[str, Lock]) -> LockedBase | None:
    for _, lock in sorted(locks.items()):
        recipe, part = cast("dict[str, Json]", lock.recipe), lock.platforms.get(platform)
        if part is None:
            continue
        rows = cast("list[dict[str, Json]]", recipe.get("stages") or [])
        held = [(recipe.get("base"), part.base)]
        held += [(row.get("base"), stage.base) for row, stage in zip(rows, part.stages, strict=False)]
        for said, locked in held:
            if said == base.to_json() and locked is not None:
                return locked
    return None


def _short(base: LockedBase) -> LockedBase:
    """Without what only an image that is run needs to be known of."""
    facts = base.facts
    if facts is not None:
        facts = replace(facts, accounts=None, modules=(), debs=None, distributions=())
    return replace(base, facts=facts, history=())
