"""What a lock holds, as values: the contract between locking and everything after it.

A lock names content (file name, version, size in bytes, SHA-256) and never a location: law 1. ``lockfile``
writes it and reads it back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from ..kernel.canonical import Json, digest
from ..kernel.values import dataclass, field
from ..recipe import CondaPackage, Recipe, differences
from .base import LockedBase, base_json
from .builds import LockedBuild, build_json
from .pythons import LockedPython, python_json
from .rows import deb_json, shared_rows, wheel_json
from .seals import CONFIGURED, LockedSeal, seal_json
from .stages import LockedStage, stage_json
from .wares import LockedDeb, LockedWheel

__all__ = [
    "SCHEMA",
    "CondaPackage",
    "Lock",
    "LockedBase",
    "LockedDeb",
    "LockedPlatform",
    "LockedPython",
    "LockedSeal",
    "LockedStage",
    "LockedWheel",
    "Pin",
]

SCHEMA = 2
"""What is written. Schema 1, in which every row said everything, and every platform all of its rows, is read, too."""


@dataclass(frozen=True, slots=True)
class LockedPlatform:
    """Everything one platform's image is made of. ``snapshot`` is ``YYYYMMDDTHHMMSSZ`` of the Debian archive.

    With a registry ``base``, ``suite`` and ``snapshot`` are empty unless Debian packages are added to it. ``seals`` are
    those of the steps that run programs, in their order; ``builds``: how wheels were made that no index has, and
    ``tools``: the Debian packages that some of these took, and that are in no image. ``python``: the image's own, where
    it is none of Debian's packages. ``stages``: those of the recipe, in its order. ``conda``:
    the packages of the recipe's environment of these, by name.
    """

    suite: str
    snapshot: str
    debs: tuple[LockedDeb, ...]
    wheels: tuple[LockedWheel, ...]
    base: LockedBase | None = None
    seals: tuple[LockedSeal, ...] = ()
    builds: tuple[LockedBuild, ...] = ()
    tools: tuple[LockedDeb, ...] = ()
    python: LockedPython | None = None
    stages: tuple[LockedStage, ...] = ()
    conda: tuple[CondaPackage, ...] = ()

    def stage(self, number: int) -> LockedPlatform:
        """What the image of the recipe's stage is made of."""
        held = self.stages[number]
        return LockedPlatform("", "", (), (), held.base, held.seals, stages=self.stages[:number])

    @property
    def every_seal(self) -> tuple[LockedSeal, ...]:
        """Those of the stages, too."""
        return (*(seal for stage in self.stages for seal in stage.seals), *self.seals)

    def seal(self, step: int) -> LockedSeal | None:
        """The seal of the recipe's step at this place; ``None`` where it was never sealed for this platform."""
        return next((seal for seal in self.seals if seal.step == step), None)

    def sealed_places(self, recipe: Recipe) -> tuple[int, ...]:
        """The places of all sealed layers of ``recipe``'s image, lowest first; of steps that changed nothing none."""
        places = ((CONFIGURED,) if self.seal(CONFIGURED) is not None else ()) + recipe.sealed_steps
        empty = {seal.step for seal in self.seals if seal.empty}
        return tuple(place for place in places if place not in empty)


@dataclass(frozen=True, slots=True)
class Pin:
    """What a platform's image turned out to be: ``derivation`` → manifest ``digest``, both ``sha256:<hex>``.

    It is a record, not an instruction: no derivation depends on it, and it says nothing about another derivation.
    """

    derivation: str
    digest: str


@dataclass(frozen=True, slots=True)
class Lock:
    """One environment's lock. ``recipe`` is the canonical recipe it answers, ``apart`` why the environment
    was not solved with the others (``None``: it was), ``pins`` the images built from it, by platform.
    ``cutoffs``: those of single indexes, by their name or the digest of their address (``none``: there is none)."""

    environment: str
    recipe: Json
    resolver: str
    resolver_version: str
    cutoff: str | None
    platforms: Mapping[str, LockedPlatform]
    apart: str | None = None
    pins: Mapping[str, Pin] = field(default_factory=dict)
    cutoffs: Mapping[str, str] = field(default_factory=dict)

    @property
    def python(self) -> str:
        """The Python of the image's packages, ``"3.11"``: that of an environment of conda packages, else the recipe's,
        else the registry base's; empty where there is none."""
        raw = cast("dict[str, Json]", self.recipe)
        steps = cast("list[dict[str, Json]]", raw.get("steps") or [])
        environment = next((step for step in steps if step.get("kind") == "conda"), None)
        if environment is not None:
            return str(environment["python"])
        asked = raw["python"]
        if asked is not None:
            return str(asked)
        found = (p.base.facts.minor for p in self.platforms.values() if p.base is not None and p.base.facts is not None)
        return next(filter(None, found), "")

    @property
    def fingerprint(self) -> str:
        return digest(self.recipe)

    def answers(self, recipe: Recipe) -> bool:
        return self.fingerprint == recipe.fingerprint

    def staleness(self, recipe: Recipe) -> list[str]:
        """What changed since this lock was made, one line each; empty when it still answers ``recipe``."""
        return [] if self.answers(recipe) else differences(self.recipe, recipe.to_json()) or ["the recipe"]

    # -- serialisation -------------------------------------------------------------------------

    def to_json(self) -> dict[str, Json]:
        names = sorted(self.platforms)
        debs = {n: [deb_json(d) for d in sorted(self.platforms[n].debs, key=_deb_key)] for n in names}
        wheels = {n: [wheel_json(w) for w in sorted(self.platforms[n].wheels, key=lambda w: w.name)] for n in names}
        every = {"debs": shared_rows(list(debs.values())), "wheels": shared_rows(list(wheels.values()))}
        known = {key: {row["name"] for row in rows} for key, rows in every.items()}
        shared: dict[str, Json] = {key: cast(Json, rows) for key, rows in every.items() if rows}
        platforms: dict[str, Json] = {}
        for name in names:
            platform = self.platforms[name]
            base: dict[str, Json] = {"base": base_json(platform.base)} if platform.base is not None else {}
            python: dict[str, Json] = {"python": python_json(platform.python)} if platform.python is not None else {}
            seals: dict[str, Json] = {"seals": [seal_json(s) for s in platform.seals]} if platform.seals else {}
            tools: dict[str, Json] = {"tools": [deb_json(d) for d in platform.tools]} if platform.tools else {}
            builds: dict[str, Json] = {"builds": [build_json(b) for b in platform.builds]} if platform.builds else {}
            stages: dict[str, Json] = {"stages": [stage_json(s) for s in platform.stages]} if platform.stages else {}
            conda: dict[str, Json] = {"conda": [p.to_json() for p in platform.conda]} if platform.conda else {}
            platforms[name] = {
                **base,
                **python,
                **conda,
                "suite": platform.suite,
                "snapshot": platform.snapshot,
                "debs": [row for row in debs[name] if row["name"] not in known["debs"]],
                "wheels": [row for row in wheels[name] if row["name"] not in known["wheels"]],
                **seals,
                **builds,
                **tools,
                **stages,
            }
        cutoffs: dict[str, Json] = {"cutoffs": dict(sorted(self.cutoffs.items()))} if self.cutoffs else {}
        out: dict[str, Json] = {
            "schema": SCHEMA,
            "environment": self.environment,
            "fingerprint": self.fingerprint,
            "recipe": self.recipe,
            "resolver": {"name": self.resolver, "version": self.resolver_version},
            "cutoff": self.cutoff,
            **cutoffs,
            **shared,
            "platforms": platforms,
        }
        if self.apart is not None:
            out["apart"] = self.apart
        if self.pins:
            out["pins"] = {
                name: {"derivation": pin.derivation, "digest": pin.digest} for name, pin in sorted(self.pins.items())
            }
        return out

    def text(self) -> str:
        """The file's text: two-space indent, but one artifact or step a line."""
        return _layout(self.to_json(), 0) + "\n"


def _deb_key(d: LockedDeb) -> tuple[str, str]:
    return d.name, d.architecture


def _layout(value: Json, depth: int) -> str:
    """Objects and arrays are opened only where reviewers read them; leaves stay on one line."""
    pad = "  " * (depth + 1)
    if isinstance(value, dict) and value and (depth < 3 or any(map(_has_rows, value.values()))):
        rows = [f"{pad}{json.dumps(k)}: {_layout(v, depth + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(rows) + "\n" + "  " * depth + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        rows = [f"{pad}{json.dumps(v, ensure_ascii=False)}" for v in value]
        return "[\n" + ",\n".join(rows) + "\n" + "  " * depth + "]"
    return json.dumps(value, ensure_ascii=False)


def _has_rows(value: Json) -> bool:
    if isinstance(value, dict):
        return any(map(_has_rows, value.values()))
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)
