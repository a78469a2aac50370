"""What the locks that are there already decide about the next ones: pins, the Debian state, the cut-off.

"Unchanged recipes keep their pins" is decided here, part by part: a recipe whose Python packages did not
change keeps its wheels, one whose Debian packages did not change keeps its debs, whatever else changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from packaging.utils import canonicalize_name

from ..kernel.canonical import Json, digest
from ..kernel.errors import LockError
from ..kernel.reporting import Reporter
from ..locks.base import LockedBase
from ..locks.lockfile import SCHEMA, Lock, LockedPlatform, Pin, lock_path, parse
from ..recipe import Recipe

__all__ = ["Existing", "instant", "kept_pins", "read_existing"]


@dataclass(frozen=True, slots=True)
class Existing:
    """All locks of a folder by environment, as far as they can be believed.

    ``under`` is the cut-off asked for now: a Debian state found under another one is then no longer shared.
    """

    locks: Mapping[str, Lock]
    under: str | None = None

    def keeps_wheels(self, name: str, recipe: Recipe) -> bool:
        """Whether the lock's wheels answer the recipe: same Python packages, Python, base and platforms."""
        lock = self.locks.get(name)
        return lock is not None and _python_part(lock.recipe) == _python_part(recipe.to_json())

    def debian(self, name: str, recipe: Recipe, platform: str) -> LockedPlatform | None:
        """The locked platform whose debs answer the recipe: the environment's own; for an image that asks for no
        Debian package, any with the same base, whose state then stays that of its neighbours."""
        own = self.locks.get(name)
        if own is not None and _debian_part(own.recipe) == _debian_part(recipe.to_json()):
            return own.platforms.get(platform)
        for other in self._newest(recipe) if not recipe.apt_packages else ():
            if platform in other.platforms and recipe.python in (other.python, None):
                found = other.platforms[platform]
                if found.base is not None:
                    return LockedPlatform("", "", (), (), found.base)
                return LockedPlatform(
                    found.suite, found.snapshot, tuple(d for d in found.debs if d.base), (), python=found.python
                )
        return None

    def base(self, name: str, recipe: Recipe, platform: str) -> LockedBase | None:
        """The registry base that the recipe names, as the environment's own lock has it, else any other: images on one
        base stay on one."""
        own = self.locks.get(name)
        same = self._newest(recipe)
        for lock in ([own] if own in same else []) + same:
            found = lock.platforms.get(platform) if lock is not None else None
            if found is not None and found.base is not None:
                return found.base
        return None

    def debian_state(self, name: str, recipe: Recipe) -> str | None:
        """The instant (RFC 3339) of the Debian state that new packages of ``name`` should be taken from, so that
        its base stays the one it and its neighbours have."""
        own = self.locks.get(name)
        candidates = self._newest(recipe)
        if own in candidates:
            candidates = [own]
        stamps = [p.snapshot for lock in candidates[:1] for p in lock.platforms.values() if p.snapshot]
        return instant(max(stamps)) if stamps else None

    def _newest(self, recipe: Recipe) -> list[Lock]:
        same = [lock for _, lock in sorted(self.locks.items()) if _base(lock.recipe) == _base(recipe.to_json())]
        return sorted(
            same, key=lambda lock: max((p.snapshot for p in lock.platforms.values()), default=""), reverse=True
        )

    def _holds(self, lock: Lock) -> bool:
        return self.under is None or lock.cutoff == self.under

    def pins(self, without: Iterable[str]) -> dict[str, dict[str, str]]:
        """Name → version by environment; the first platform's version where platforms differ."""
        gone = {canonicalize_name(name) for name in without}
        out: dict[str, dict[str, str]] = {}
        for environment, lock in self.locks.items():
            pins = out.setdefault(environment, {})
            for _, platform in sorted(lock.platforms.items()):
                for wheel in platform.wheels:
                    if wheel.name not in gone:
                        pins.setdefault(wheel.name, wheel.version)
        return out

    def kept(self, without: Iterable[str]) -> dict[str, str]:
        """The commits of repositories and the SHA-256 of what addresses had, by the digest of what was asked; without
        those of the packages named."""
        gone = {canonicalize_name(name) for name in without}
        out: dict[str, str] = {}
        for lock in self.locks.values():
            rows = _addressed(lock)
            # Where two addresses have one name, the lock does not say whose bytes are whose.
            files = {row["file"]: digest(row) for row in rows if sum(r["file"] == row["file"] for r in rows) == 1}
            for platform in lock.platforms.values():
                sources = [build.source for build in platform.builds if build.source.name not in gone]
                out |= {s.asked: s.commit or s.sha256 for s in sources if s.asked}
                wheels = [w for w in platform.wheels if w.file in files and w.name not in gone]
                out |= {files[w.file]: w.sha256 for w in wheels}
        return out

    def holding(self, package: str) -> set[str]:
        """The environments whose lock holds the Python package."""
        name = canonicalize_name(package)
        return {
            environment
            for environment, lock in self.locks.items()
            if any(w.name == name for platform in lock.platforms.values() for w in platform.wheels)
        }

    def cutoff(self, names: Iterable[str]) -> str | None:
        """The cut-off that holds for new pins where none is given: the latest of those in force."""
        return max((lock.cutoff for name in names if (lock := self.locks.get(name)) and lock.cutoff), default=None)


def read_existing(directory: Path, names: Iterable[str], under: str | None, reporter: Reporter) -> Existing:
    """Read every lock of ``directory``, to lock ``names`` with the cut-off ``under``.

    One that cannot be believed is passed over with a warning when locking may replace it; one that a newer
    flyte-build wrote is an error (:class:`LockError`).
    """
    wanted = set(names)
    locks: dict[str, Lock] = {}
    for path in sorted(directory.glob("*.json")) if directory.is_dir() else []:
        try:
            text = path.read_text(encoding="utf-8")
            lock = parse(text, path)
            if lock.environment != path.stem:
                raise LockError(f"{path}: holds the lock of {lock.environment}")
        except (LockError, OSError, UnicodeDecodeError) as e:
            if path.stem not in wanted:
                continue
            if _is_newer(path) and isinstance(e, LockError):
                raise
            reporter.warn(f"{e}; it is made anew")
            continue
        locks[lock.environment] = lock
    return Existing(locks, under)


def kept_pins(directory: Path, lock: Lock) -> dict[str, Pin]:
    """The pins in the file that ``lock`` will replace, of the platforms on which it asks for the same image.

    How Python packages were asked for is no part of an image; which they are, and every other step, is.
    """
    try:
        path = lock_path(directory, lock.environment)
        old = parse(path.read_text(encoding="utf-8"), path)
    except (LockError, OSError, UnicodeDecodeError):
        return {}
    if _image_part(old.recipe) != _image_part(lock.recipe):
        return {}
    return {
        name: pin
        for name, pin in old.pins.items()
        if name in lock.platforms and _content(old.platforms[name]) == _content(lock.platforms[name])
    }


def _content(platform: LockedPlatform) -> LockedPlatform:
    """``platform`` without what says only where to look, in the order of the file."""
    debs = sorted(platform.debs, key=lambda d: (d.name, d.architecture))
    wheels = sorted(platform.wheels, key=lambda w: w.name)
    return replace(platform, snapshot="", debs=tuple(debs), wheels=tuple(wheels))


def _is_newer(path: Path) -> bool:
    try:
        schema = json.loads(path.read_text(encoding="utf-8")).get("schema")
    except (OSError, ValueError, AttributeError):
        return False
    return isinstance(schema, int) and schema > SCHEMA


def _python_part(recipe: Json) -> Json:
    raw = cast("dict[str, Json]", recipe)
    kinds = ("pip", "conda")
    steps = [s for s in cast("list[dict[str, Json]]", raw.get("steps") or []) if s.get("kind") in kinds]
    return {**{k: raw.get(k) for k in ("base", "python", "flyte", "platforms")}, "steps": cast(Json, steps)}


def _image_part(recipe: Json) -> Json:
    raw = cast("dict[str, Json]", recipe)
    steps = [s for s in cast("list[dict[str, Json]]", raw.get("steps") or []) if s.get("kind") != "pip"]
    return {**{k: v for k, v in raw.items() if k not in ("platforms", "steps")}, "steps": cast(Json, steps)}


def _debian_part(recipe: Json) -> Json:
    raw = cast("dict[str, Json]", recipe)
    steps = [s for s in cast("list[dict[str, Json]]", raw.get("steps") or []) if s.get("kind") == "apt"]
    names = [name for s in steps for name in cast("list[str]", s.get("packages") or [])]
    return {"base": raw.get("base"), "python": raw.get("python"), "packages": cast(Json, sorted(set(names)))}


def _addressed(lock: Lock) -> list[dict[str, Any]]:
    """The rows of the recipe's sources that are wheels."""
    steps = cast("dict[str, Any]", lock.recipe).get("steps") or []
    return [row for step in steps for row in step.get("sources", ()) if str(row.get("file")).endswith(".whl")]


def _base(recipe: Json) -> Json:
    return cast("dict[str, Json]", recipe).get("base")


def instant(stamp: str) -> str:
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}Z"
