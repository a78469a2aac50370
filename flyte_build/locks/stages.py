"""A stage as a lock holds it: the image that it stands on, and the seals of its steps. Values and their JSON.

A stage is made for what other steps take of it, and is in no image; its bases are locked by digest like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..kernel.canonical import Json
from ..kernel.values import dataclass
from .base import LockedBase, base_json, parse_base
from .reading import Reader
from .seals import LockedSeal, parse_seals, seal_json

__all__ = ["LockedStage", "parse_stages", "stage_json"]


@dataclass(frozen=True, slots=True)
class LockedStage:
    """``base``: ``None`` where the stage stands on nothing. ``seals``: of its steps that run programs, in order."""

    base: LockedBase | None
    seals: tuple[LockedSeal, ...] = ()


def stage_json(stage: LockedStage) -> dict[str, Json]:
    """The JSON object of a lock, one line there."""
    return {
        "base": base_json(stage.base) if stage.base is not None else None,
        "seals": [seal_json(seal) for seal in stage.seals],
    }


def parse_stages(r: Reader, raw: Mapping[str, Any], wanted: Sequence[Any], where: str) -> tuple[LockedStage, ...]:
    """The stages of a platform, one for each of the recipe's ``wanted``; raises
    :class:`~flyte_build.kernel.errors.LockError` naming place and expectation."""
    rows = r.get(raw, "stages", list, where) if "stages" in raw else []
    if len(rows) != len(wanted):
        raise r.fail(f"{where}.stages", f"the recipe's {len(wanted)} stages", len(rows))
    found = []
    for i, (row, asked) in enumerate(zip(rows, wanted, strict=True)):
        at = f"{where}.stages[{i}]"
        if not isinstance(row, dict):
            raise r.fail(at, "an object", row)
        r.known(row, {"base", "seals"}, at)
        base = asked.get("base") if isinstance(asked, dict) else None
        scratch = isinstance(base, dict) and base.get("kind") == "scratch"
        if scratch != (row.get("base") is None):
            raise r.fail(f"{at}.base", "nothing" if scratch else "a base", row.get("base"))
        locked = None if scratch else parse_base(r, row["base"], f"{at}.base")
        found.append(LockedStage(locked, parse_seals(r, row, at)))
    return tuple(found)
