"""A lock → where its wheels are: the Python, to its patch release, and the C library they were chosen for. Pure."""

from __future__ import annotations

import re
from typing import cast

from ..kernel.errors import RefusedError
from ..kernel.pythons import plain
from ..locks.nouns import Lock
from ..recipe import Platform
from .wheels import Target, glibc_of

__all__ = ["full_python", "target_of"]


def full_python(lock: Lock, platform: str) -> str | None:
    """The whole version of the image's Python: a base's own, an archive's, or what Debian's packages say; ``None``
    where a base does not tell. Without any, the first of the minor version."""
    locked = lock.platforms[platform]
    if locked.base is not None:
        return locked.base.facts.python_full if locked.base.facts is not None else None
    versions = {deb.name: deb.version for deb in locked.debs}
    for name in (f"python{lock.python}-minimal", f"python{lock.python}", f"libpython{lock.python}-stdlib"):
        if found := re.match(r"(?:\d+:)?(\d+\.\d+\.\d+)", versions.get(name, "")):
            return found[1]
    return locked.python.version if locked.python is not None else f"{plain(lock.python)}.0"


def target_of(lock: Lock, platform: str) -> Target:
    """The Python and the C library that the locked wheels of ``platform`` were chosen for.

    Raises :class:`RefusedError` where the lock does not say: a base without Python, or of another C library.
    """
    locked = lock.platforms[platform]
    full = full_python(lock, platform)
    if locked.base is not None:
        parts = (locked.base.facts.glibc or "").split(".") if locked.base.facts is not None else []
        if full is None or len(parts) < 2:
            raise RefusedError(
                f"{lock.environment} on {platform}: the base image's Python and C library are not known",
                hint="a PEX is for a Python: export an environment whose image has one",
            )
        return Target(cast(Platform, platform), lock.python, full, (int(parts[0]), int(parts[1])))
    libc6 = next((deb.version for deb in locked.debs if deb.name == "libc6"), None)
    return Target(
        cast(Platform, platform), lock.python, full or f"{plain(lock.python)}.0", glibc_of(locked.suite, libc6)
    )
