"""A hashed requirements file is a promise: what is locked must be among the hashes it allows (pip's ``--hash``)."""

from __future__ import annotations

from collections.abc import Mapping

from ..kernel.errors import LockError, ResolutionError
from ..locks.nouns import Lock
from ..recipe import Recipe

__all__ = ["check_allowed"]


def check_allowed(recipes: Mapping[str, Recipe], locks: Mapping[str, Lock]) -> None:
    """Raises :class:`ResolutionError` for a wheel whose SHA-256 its requirements file does not list."""
    for environment, recipe in recipes.items():
        allowed = {name: hashes for step in recipe.pip_steps for name, hashes in step.hashes}
        if not allowed:
            continue
        if environment not in locks:
            raise LockError(f"environment {environment} has hashed requirements and no lock")
        for platform, locked in locks[environment].platforms.items():
            built = {build.wheel: build.source.sha256 for build in locked.builds}
            for wheel in locked.wheels:
                # Of what was built it is its source that is listed.
                if wheel.name in allowed and built.get(wheel.sha256, wheel.sha256) not in allowed[wheel.name]:
                    raise ResolutionError(
                        f"environment {environment}: {wheel.file} ({platform}) has the SHA-256 {wheel.sha256}, "
                        f"which is none of the {len(allowed[wheel.name])} that its requirements file allows",
                        hint="pin the version with ==, and list the hashes of its wheels for every platform",
                    )
