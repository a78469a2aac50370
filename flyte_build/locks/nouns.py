"""What a lock holds, as values: the contract between locking and everything after it.

A lock names content (file name, version, size in bytes, SHA-256) and never a location: law 1. ``lockfile``
writes it and reads it back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from ..kernel.canonical import Json, digest
from ..recipe import Recipe, differences
from .base import LockedBase, base_json
from .builds import LockedBuild, build_json
from .pythons import LockedPython, python_json
from .seals import CONFIGURED, LockedSeal, seal_json

__all__ = [
    "SCHEMA",
    "Lock",
    "LockedBase",
    "LockedDeb",
    "LockedPlatform",
    "LockedPython",
    "LockedSeal",
    "LockedWheel",
    "Pin",
]

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class LockedWheel:
    """One wheel: ``name`` normalised (PEP 503), ``size`` in bytes, ``sha256`` in hex.

    ``step`` is the earliest pip step of the recipe whose closure holds it (0: the flyte runtime), which
    decides the layer it lies in, so that images that extend one another share layers (law 7).
    """

    name: str
    version: str
    file: str
    size: int
    sha256: str
    step: int


@dataclass(frozen=True, slots=True)
class LockedDeb:
    """One Debian package.

    ``archive`` is ``debian`` or ``debian-security``; with ``component``, ``source`` and ``file`` it gives
    the pool path on any mirror. Else it is the name of a source that the project's settings allow, and ``path`` is
    where the file lies below its root. ``base`` tells the base's packages from those asked for by name.
    """

    name: str
    version: str
    architecture: str
    file: str
    size: int
    sha256: str
    source: str
    archive: str
    component: str
    base: bool
    path: str | None = None

    @property
    def pool_path(self) -> str:
        """The path below an archive's root, by Debian's pool rule (``liba`` → ``liba``, else first letter)."""
        if self.path is not None:
            return self.path
        prefix = self.source[:4] if self.source.startswith("lib") else self.source[:1]
        return f"pool/{self.component}/{prefix}/{self.source}/{self.file}"


@dataclass(frozen=True, slots=True)
class LockedPlatform:
    """Everything one platform's image is made of. ``snapshot`` is ``YYYYMMDDTHHMMSSZ`` of the Debian archive.

    With a registry ``base``, ``suite`` and ``snapshot`` are empty unless Debian packages are added to it. ``seals`` are
    those of the steps that run programs, in their order; ``builds``: how wheels were made that no index has, and
    ``tools``: the Debian packages that some of these took, and that are in no image. ``python``: the image's own, where
    it is none of Debian's packages.
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

    def seal(self, step: int) -> LockedSeal | None:
        """The seal of the recipe's step at this place; ``None`` where it was never sealed for this platform."""
        return next((seal for seal in self.seals if seal.step == step), None)

    def sealed_places(self, recipe: Recipe) -> tuple[int, ...]:
        """The places of all sealed layers of ``recipe``'s image, lowest first."""
        return ((CONFIGURED,) if self.seal(CONFIGURED) is not None else ()) + recipe.sealed_steps


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
    was not solved with the others (``None``: it was), ``pins`` the images built from it, by platform."""

    environment: str
    recipe: Json
    resolver: str
    resolver_version: str
    cutoff: str | None
    platforms: Mapping[str, LockedPlatform]
    apart: str | None = None
    pins: Mapping[str, Pin] = field(default_factory=dict)

    @property
    def python(self) -> str:
        """The image's Python, ``"3.11"``: the recipe's, else the registry base's; empty where it has none."""
        asked = cast("dict[str, Json]", self.recipe)["python"]
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
        platforms: dict[str, Json] = {}
        for name, platform in sorted(self.platforms.items()):
            base: dict[str, Json] = {"base": base_json(platform.base)} if platform.base is not None else {}
            python: dict[str, Json] = {"python": python_json(platform.python)} if platform.python is not None else {}
            seals: dict[str, Json] = {"seals": [seal_json(s) for s in platform.seals]} if platform.seals else {}
            tools: dict[str, Json] = {"tools": [_deb_json(d) for d in platform.tools]} if platform.tools else {}
            builds: dict[str, Json] = {"builds": [build_json(b) for b in platform.builds]} if platform.builds else {}
            platforms[name] = {
                **base,
                **python,
                "suite": platform.suite,
                "snapshot": platform.snapshot,
                "debs": [_deb_json(d) for d in sorted(platform.debs, key=lambda d: (d.name, d.architecture))],
                "wheels": [_wheel_json(w) for w in sorted(platform.wheels, key=lambda w: w.name)],
                **seals,
                **builds,
                **tools,
            }
        out: dict[str, Json] = {
            "schema": SCHEMA,
            "environment": self.environment,
            "fingerprint": self.fingerprint,
            "recipe": self.recipe,
            "resolver": {"name": self.resolver, "version": self.resolver_version},
            "cutoff": self.cutoff,
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


def _wheel_json(w: LockedWheel) -> Json:
    return {
        "name": w.name,
        "version": w.version,
        "file": w.file,
        "size": w.size,
        "sha256": w.sha256,
        "step": w.step,
    }


def _deb_json(d: LockedDeb) -> Json:
    return {
        "name": d.name,
        "version": d.version,
        "architecture": d.architecture,
        "file": d.file,
        "size": d.size,
        "sha256": d.sha256,
        "source": d.source,
        "archive": d.archive,
        "component": d.component,
        "base": d.base,
        **({"path": d.path} if d.path is not None else {}),
    }


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
