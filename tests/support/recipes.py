"""Recipes and locks made by hand, for tests of what comes after locking."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from flyte_build.locks.lockfile import Lock, LockedDeb, LockedPlatform, LockedWheel
from flyte_build.locks.pythons import LockedPython
from flyte_build.recipe import DebianBase, PipInstall, Platform, Recipe, Step

__all__ = ["deb", "lock_of", "python_of", "recipe_of", "wheel"]

AMD64: Platform = "linux/amd64"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def recipe_of(
    *steps: Step | str, python: str = "3.11", flyte: str | None = "2.12.1", platform: Platform = AMD64
) -> Recipe:
    """A recipe; a string is a pip step with that one requirement. Python 3.12 is a relocatable one."""
    made = tuple(PipInstall((s,)) if isinstance(s, str) else s for s in steps)
    return Recipe(DebianBase("bookworm", standalone=python == "3.12"), (platform,), python, flyte, made)


def wheel(name: str, version: str = "1.0", *, step: int = 1, size: int = 1000, salt: str = "") -> LockedWheel:
    file = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    return LockedWheel(name, version, file, size, sha(file + salt), step)


def deb(name: str, version: str = "1.0-1", *, base: bool = True, size: int = 5000) -> LockedDeb:
    file = f"{name}_{version}_amd64.deb"
    return LockedDeb(name, version, "amd64", file, size, sha(file), name, "debian", "main", base)


def python_of(version: str) -> LockedPython:
    file = f"cpython-{version}+20260102-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
    return LockedPython(version, file, 7000, sha(file))


def lock_of(
    recipe: Recipe,
    wheels: Sequence[LockedWheel] = (),
    debs: Sequence[LockedDeb] | None = None,
    *,
    environment: str = "env",
    apart: str | None = None,
) -> Lock:
    """A lock that answers ``recipe`` with these artifacts on each of its platforms."""
    held = tuple(debs) if debs is not None else (deb("base-files"), deb("python3.11"))
    base = recipe.base
    relocatable = python_of(f"{recipe.python}.4") if isinstance(base, DebianBase) and base.standalone else None
    platform = LockedPlatform("bookworm", "20261101T000000Z", held, tuple(wheels), python=relocatable)
    platforms: Mapping[str, LockedPlatform] = dict.fromkeys(recipe.platforms, platform)
    return Lock(environment, recipe.to_json(), "uv", "0.1", None, platforms, apart)
