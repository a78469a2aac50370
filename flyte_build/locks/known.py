"""What a lock knows of a Dockerfile: what its bases begin with (``ONBUILD``), and what is at addresses. Pure."""

from __future__ import annotations

from typing import Any, cast

from ..recipe import Known
from .base import LockedBase
from .nouns import Lock

__all__ = ["begun_by", "known_of"]


def known_of(lock: Lock) -> Known:
    """What is known from ``lock``; images that have nothing for those that stand on them have no row."""
    recipe = cast("dict[str, Any]", lock.recipe)
    stages = recipe.get("stages") or []
    triggers: dict[str, tuple[str, ...]] = {}
    for part in lock.platforms.values():
        pairs = [(recipe.get("base"), part.base)]
        pairs += [(row.get("base"), stage.base) for row, stage in zip(stages, part.stages, strict=False)]
        for said, base in pairs:
            if base is not None and isinstance(said, dict) and (texts := begun_by(base)):
                triggers.setdefault(str(said.get("reference")), texts)
    files: dict[str, tuple[str, int]] = {}
    for step in (step for one in (recipe, *stages) for step in one.get("steps") or []):
        if "url" in step and isinstance(step.get("sha256"), str) and isinstance(step.get("size"), int):
            files[str(step["url"])] = (step["sha256"], step["size"])
    return Known(triggers, files)


def begun_by(base: LockedBase) -> tuple[str, ...]:
    """What ``base`` has an image begin with."""
    held = base.settings.get("OnBuild")
    return tuple(map(str, held)) if isinstance(held, list) else ()
