"""A wheel that was built from its source distribution, as a lock holds it: the source, and what it was built with.

The wheel itself is among the lock's wheels, by its own hash. What is here is how another machine can make it, and what
it is held against. Values and their JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..kernel.canonical import Json
from ..kernel.values import dataclass
from .reading import DIGEST, SHA256, Reader

__all__ = ["LockedBuild", "LockedSource", "Required", "build_json", "parse_builds"]

_HEX = "64 hexadecimal digits"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PLATFORM = re.compile(r"linux/(amd64|arm64)")


@dataclass(frozen=True, slots=True)
class LockedSource:
    """The source distribution of ``name`` (PEP 503) in ``version``: file name, ``size`` in bytes, SHA-256 in hex.

    ``asked``: of one that is a repository or a folder, the digest of what the recipe says of it, and of a repository
    the ``commit``, 40 hex digits. ``version`` then only tells one from another.
    """

    name: str
    version: str
    file: str
    size: int
    sha256: str
    asked: str | None = None
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Required:
    """A wheel that a build needs; it is in no image."""

    name: str
    version: str
    file: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class LockedBuild:
    """``wheel``: the SHA-256 of what was built; ``requires``: the build requirements, all of them, in order of name;
    ``native``: whether it took the platform's build tools (``LockedPlatform.tools``); ``reproducible``: whether it came
    out the same twice. ``platform``: where it was built, if that is another platform than it is locked for."""

    wheel: str
    source: LockedSource
    requires: tuple[Required, ...]
    reproducible: bool
    native: bool = False
    platform: str | None = None


def build_json(build: LockedBuild) -> dict[str, Json]:
    """The JSON object of a lock, one line there."""
    return {
        "wheel": build.wheel,
        "source": _file(build.source) | _origin(build.source),
        "native": build.native,
        "reproducible": build.reproducible,
        "requires": [_file(one) for one in build.requires],
        **({"platform": build.platform} if build.platform is not None else {}),
    }


def _origin(source: LockedSource) -> dict[str, Json]:
    found: dict[str, Json] = {"asked": source.asked, "commit": source.commit}
    return {key: value for key, value in found.items() if value is not None}


def _file(one: LockedSource | Required) -> dict[str, Json]:
    return {"name": one.name, "version": one.version, "file": one.file, "size": one.size, "sha256": one.sha256}


def parse_builds(r: Reader, raw: Mapping[str, Any], where: str) -> tuple[LockedBuild, ...]:
    """The builds of a platform; raises :class:`~flyte_build.kernel.errors.LockError` naming place and expectation."""
    found = []
    for i, row in enumerate(r.get(raw, "builds", list, where) if "builds" in raw else ()):
        at = f"{where}.builds[{i}]"
        if not isinstance(row, dict):
            raise r.fail(at, "an object", row)
        r.known(row, set(LockedBuild.__dataclass_fields__), at)
        requires = enumerate(r.get(row, "requires", list, at))
        found.append(
            LockedBuild(
                wheel=r.matching(row, "wheel", SHA256, _HEX, at),
                source=_source(r, row.get("source"), f"{at}.source"),
                requires=tuple(Required(**_fields(r, one, f"{at}.requires[{n}]")) for n, one in requires),
                reproducible=r.get(row, "reproducible", bool, at),
                native=r.get(row, "native", bool, at),
                platform=r.matching(row, "platform", _PLATFORM, "a platform", at) if "platform" in row else None,
            )
        )
    return tuple(found)


def _source(r: Reader, raw: object, at: str) -> LockedSource:
    if not isinstance(raw, dict):
        raise r.fail(at, "an object", raw)
    kinds = {"asked": (DIGEST, "sha256: and 64 hexadecimal digits"), "commit": (_COMMIT, "40 hexadecimal digits")}
    more = {key: r.matching(raw, key, *kind, at) for key, kind in kinds.items() if key in raw}
    held = _fields(r, {k: v for k, v in raw.items() if k not in more}, at)
    return LockedSource(**held, asked=more.get("asked"), commit=more.get("commit"))


def _fields(r: Reader, raw: object, at: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise r.fail(at, "an object", raw)
    r.known(raw, set(Required.__dataclass_fields__), at)
    texts = {key: r.get(raw, key, str, at) for key in ("name", "version", "file")}
    if "/" in texts["file"] or texts["file"].startswith("."):
        raise r.fail(f"{at}.file", "a file name", texts["file"])
    return {**texts, "size": r.size(raw, at), "sha256": r.matching(raw, "sha256", SHA256, _HEX, at)}
