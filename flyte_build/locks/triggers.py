"""What the bases that are locked have the images begin with that stand on them (``ONBUILD`` of Dockerfiles). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, cast

from ..kernel.canonical import Json
from .base import LockedBase
from .nouns import Lock

__all__ = ["Triggers", "begun_by", "triggers_of"]

Triggers: TypeAlias = Mapping[str, tuple[str, ...]]
"""By the name of an image: the instructions, as a Dockerfile has them."""


def triggers_of(lock: Lock) -> Triggers:
    """What the bases say that ``lock`` has, by the names that its recipe has for them; those that say nothing have no
    row."""
    recipe = cast("dict[str, Json]", lock.recipe)
    rows = cast("list[dict[str, Json]]", recipe.get("stages") or [])
    known: dict[str, tuple[str, ...]] = {}
    for part in lock.platforms.values():
        pairs = [(recipe.get("base"), part.base)]
        pairs += [(row.get("base"), stage.base) for row, stage in zip(rows, part.stages, strict=False)]
        for said, base in pairs:
            if base is not None and isinstance(said, dict) and (texts := begun_by(base)):
                known.setdefault(str(said.get("reference")), texts)
    return known


def begun_by(base: LockedBase) -> tuple[str, ...]:
    """What ``base`` has an image begin with."""
    held = base.settings.get("OnBuild")
    return tuple(map(str, held)) if isinstance(held, list) else ()
