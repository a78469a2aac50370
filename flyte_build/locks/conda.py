"""The conda packages of a platform, in a lock: JSON of the rows. The noun is :mod:`flyte_build.recipe.conda`'s.

A row names content: a package's file and its SHA-256. Where channels are is the ``pixi.lock``'s to say (law 1).
"""

from __future__ import annotations

import re
from typing import Any

from ..recipe import CondaPackage
from .reading import SHA256, Reader

__all__ = ["parse_conda"]

_TEXT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!-]*")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!=-]*\.(conda|tar\.bz2)")


def parse_conda(r: Reader, rows: list[Any], where: str) -> tuple[CondaPackage, ...]:
    """Raises :class:`~flyte_build.kernel.errors.LockError` naming place and expectation."""
    found = [_row(r, raw, f"{where}.conda[{i}]") for i, raw in enumerate(rows)]
    if [p.name for p in found] != sorted({p.name for p in found}):
        raise r.fail(f"{where}.conda", "every name once, sorted", [p.name for p in found])
    return tuple(found)


def _row(r: Reader, raw: object, at: str) -> CondaPackage:
    if not isinstance(raw, dict):
        raise r.fail(at, "an object", raw)
    r.known(raw, set(CondaPackage.__dataclass_fields__) - {"machine"}, at)
    name, version, build, subdir = (
        r.matching(raw, key, _TEXT, "letters, digits and . _ + ! -", at)
        for key in ("name", "version", "build", "subdir")
    )
    lists: dict[str, tuple[str, ...]] = {}
    for key in ("needs", "pypi"):
        names = r.get(raw, key, list, at) if key in raw else []
        if not all(isinstance(name, str) for name in names):
            raise r.fail(f"{at}.{key}", "a list of names", names)
        lists[key] = tuple(names)
    return CondaPackage(
        name,
        version,
        build,
        subdir,
        file=r.matching(raw, "file", _FILE, "the name of a .conda or .tar.bz2", at),
        size=r.size(raw, at),
        sha256=r.matching(raw, "sha256", SHA256, "64 hexadecimal digits", at),
        needs=lists["needs"],
        pypi=lists["pypi"],
    )
