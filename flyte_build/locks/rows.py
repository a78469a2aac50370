"""Packages as rows of a lock: a line each, which says what does not follow from the rest of it.

A Debian package's ``file``, ``source``, ``archive``, ``component`` and ``base`` are left out where they are what they
nearly always are, and a row that every platform has is written once. Files of schema 1 say everything everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..kernel.canonical import Json
from .reading import SHA256, Reader
from .wares import LockedDeb, LockedWheel

__all__ = ["deb_json", "debs_of", "shared_rows", "wheel_json", "wheels_of"]

_WHEEL = re.compile(r"[^/\\\s]+-[^/\\\s]+\.whl")
_PATH = re.compile(r"(?!.*(^|/)\.\.?(/|$))[^/\\\s:][^\\\s:]*")
_DEB = re.compile(r"[a-z0-9][a-z0-9.+-]*_[^/\\\s]+_[a-z0-9-]+\.deb")
_USUAL = {"archive": "debian", "component": "main", "base": True}


def wheel_json(w: LockedWheel) -> dict[str, Json]:
    return {
        "name": w.name,
        "version": w.version,
        "file": w.file,
        "size": w.size,
        "sha256": w.sha256,
        "step": w.step,
    }


def deb_json(d: LockedDeb) -> dict[str, Json]:
    said: dict[str, Json] = {"file": d.file, "source": d.source, "archive": d.archive, "component": d.component}
    usual = _usual(d.name, d.version, d.architecture)
    unusual = {key: value for key, value in {**said, "base": d.base}.items() if value != usual[key]}
    file = {"file": unusual.pop("file")} if "file" in unusual else {}
    path: dict[str, Json] = {"path": d.path} if d.path is not None else {}
    bytes_: dict[str, Json] = {"size": d.size, "sha256": d.sha256}
    return {"name": d.name, "version": d.version, "architecture": d.architecture, **file, **bytes_, **unusual, **path}


def _usual(name: str, version: str, architecture: str) -> dict[str, Any]:
    """What a row need not say (Debian policy 5.6.1: a source's name; a pool's file names leave the epoch out)."""
    file = f"{name}_{version.partition(':')[2] or version}_{architecture}.deb"
    return {**_USUAL, "file": file, "source": name}


def shared_rows(platforms: Sequence[Sequence[dict[str, Json]]]) -> list[dict[str, Json]]:
    """The rows that all of several platforms have, in the order of the first; none of a single platform's."""
    first, *others = platforms or ([],)
    named = [{str(row["name"]): row for row in other} for other in others]
    return [row for row in first if named and all(other.get(str(row["name"])) == row for other in named)]


def wheels_of(r: Reader, rows: Iterable[object], where: str) -> tuple[LockedWheel, ...]:
    """The wheels that ``rows`` say; raises :class:`LockError`."""
    wheels: list[LockedWheel] = []
    for i, w in enumerate(rows):
        at = f"{where}.wheels[{i}]"
        if not isinstance(w, dict):
            raise r.fail(at, "an object", w)
        r.known(w, {"name", "version", "file", "size", "sha256", "step"}, at)
        wheels.append(
            LockedWheel(
                name=r.get(w, "name", str, at),
                version=r.get(w, "version", str, at),
                file=r.matching(w, "file", _WHEEL, "a wheel file name", at),
                size=r.size(w, at),
                sha256=r.matching(w, "sha256", SHA256, "64 hexadecimal digits", at),
                step=r.get(w, "step", int, at),
            )
        )
    return tuple(wheels)


def debs_of(r: Reader, rows: Iterable[object], key: str, where: str, *, whole: bool) -> tuple[LockedDeb, ...]:
    """The Debian packages that ``rows`` say; ``whole``: each says everything. Raises :class:`LockError`."""
    debs: list[LockedDeb] = []
    for i, stated in enumerate(rows):
        at = f"{where}.{key}[{i}]"
        if not isinstance(stated, dict):
            raise r.fail(at, "an object", stated)
        named = {k: r.get(stated, k, str, at) for k in ("name", "version", "architecture")}
        d: Mapping[str, Any] = stated if whole else {**_usual(**named), **stated}
        strings = ("source", "archive", "component")
        r.known(d, {*named, *strings, "file", "size", "sha256", "base", "path"}, at)
        debs.append(
            LockedDeb(
                **named,
                **{k: r.get(d, k, str, at) for k in strings},
                file=r.matching(d, "file", _DEB, "a Debian package file name", at),
                size=r.size(d, at),
                sha256=r.matching(d, "sha256", SHA256, "64 hexadecimal digits", at),
                base=r.get(d, "base", bool, at),
                path=r.matching(d, "path", _PATH, "a path below the source's root", at) if "path" in d else None,
            )
        )
    return tuple(debs)
