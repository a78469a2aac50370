"""Locked packages → what is known against them: advisories in OSV's form, of a service or of a folder that holds them.

https://ossf.github.io/osv-schema/. Where they come from is the user's to say; nothing here names a place. A record that
is damaged is an error, one that was withdrawn is none.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..kernel import documents
from ..kernel.errors import ArtifactError, InputError
from ..locks.nouns import Lock

__all__ = ["Affected", "Packaged", "Source", "affected", "of_folder", "packages"]

_RELEASES = {"buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14"}
_LONGEST = 16 << 20
"""Bytes that a record may have; those of Linux kernels have some."""


@dataclass(frozen=True, slots=True, order=True)
class Packaged:
    """A version of a package as OSV names it: a Debian package by its source. ``kind`` and ``name`` are the lock's."""

    ecosystem: str
    package: str
    version: str
    kind: Literal["wheel", "deb"]
    name: str

    def same(self, other: Packaged) -> bool:
        """Whether they are one package, of whatever version."""
        return (self.kind, self.name, self.ecosystem) == (other.kind, other.name, other.ecosystem)


Source = Callable[[Iterable[Packaged]], Mapping[Packaged, tuple[str, ...]]]
"""Packages → the ids of advisories, sorted; those without any are left out."""


@dataclass(frozen=True, slots=True)
class Affected:
    """A locked package that ``advisories`` are about. ``new``: the version that ``lock --upgrade`` would take, ``None``
    for the same; ``left``: the advisories that are about that one, too."""

    kind: Literal["wheel", "deb"]
    name: str
    version: str
    environments: tuple[str, ...]
    advisories: tuple[str, ...]
    new: str | None
    left: tuple[str, ...]


def packages(locks: Mapping[str, Lock]) -> dict[Packaged, tuple[str, ...]]:
    """Every locked package, with the environments that have it. Of a base from a registry only what was put on it."""
    found: dict[Packaged, set[str]] = {}
    for environment, lock in locks.items():
        for locked in lock.platforms.values():
            for wheel in locked.wheels:
                one = Packaged("PyPI", wheel.name, wheel.version, "wheel", wheel.name)
                found.setdefault(one, set()).add(environment)
            release = _RELEASES.get(locked.suite)
            for deb in locked.debs if release is not None else ():
                # A rebuild of the binaries alone has a suffix that its source has not (Debian policy, 5.6.12).
                version = re.sub(r"\+b\d+$", "", deb.version)
                found.setdefault(Packaged(f"Debian:{release}", deb.source, version, "deb", deb.name), set()).add(
                    environment
                )
    return {one: tuple(sorted(names)) for one, names in found.items()}


def affected(before: Mapping[str, Lock], after: Mapping[str, Lock], known: Source) -> tuple[Affected, ...]:
    """What of ``before`` advisories are about, and what is left of them in ``after``; by kind and name."""
    old, new = packages(before), packages(after)
    found = known(dict.fromkeys([*old, *new]))
    out = []
    for one, environments in sorted(old.items()):
        if one not in found:
            continue
        ids = found[one]
        others = [
            other for other, there in new.items()
            if other.same(one) and set(there) & set(environments)
        ]  # fmt: skip
        moved = [other for other in others if other.version != one.version]
        left = {i for other in others for i in found.get(other, ()) if i in ids}
        version = moved[0].version if moved else None
        out.append(Affected(one.kind, one.name, one.version, environments, ids, version, tuple(sorted(left))))
    return tuple(sorted(out, key=lambda a: (a.kind, a.name, a.version)))


def of_folder(folder: Path) -> Source:
    """Advisories as files below ``folder``: ``*.json``, one each, and ``*.zip`` of such, as OSV's dumps are.

    Raises :class:`InputError` where there are none, :class:`ArtifactError` for one that cannot be read.
    """

    def known(asked: Iterable[Packaged]) -> dict[Packaged, tuple[str, ...]]:
        wanted: dict[tuple[str, str], list[Packaged]] = {}
        for one in asked:
            wanted.setdefault((one.ecosystem, _normal(one.ecosystem, one.package)), []).append(one)
        found: dict[Packaged, set[str]] = {}
        there = False
        for where, text in _records(folder):
            there = True
            for one, name in _said(where, text, wanted):
                found.setdefault(one, set()).add(name)
        if not there:
            raise InputError(f"{folder}: expected advisories in OSV's form, *.json or *.zip of them, found none")
        return {one: tuple(sorted(ids)) for one, ids in found.items()}

    return known


def _records(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".json" and path.is_file():
            yield str(path), path.read_bytes()
        elif path.suffix == ".zip" and path.is_file():
            try:
                with zipfile.ZipFile(path) as archive:
                    for member in archive.infolist():
                        if member.filename.endswith(".json"):
                            with archive.open(member) as file:
                                yield f"{path}: {member.filename}", file.read(_LONGEST + 1)
            except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as e:
                raise ArtifactError(f"{path}: expected a zip of advisories: {e}") from None


def _said(where: str, text: bytes, wanted: Mapping[tuple[str, str], list[Packaged]]) -> Iterator[tuple[Packaged, str]]:
    """Which of ``wanted`` a record is about, with its id."""
    try:
        if len(text) > _LONGEST:
            raise ValueError(f"it is longer than {_LONGEST >> 20} MiB")
        record = documents.parse_object(text)
        if record.get("withdrawn"):
            return
        for about in record.get("affected") or []:
            if package := about.get("package"):
                ecosystem = str(package["ecosystem"])
                for one in wanted.get((ecosystem, _normal(ecosystem, str(package["name"]))), ()):
                    if _about(about, one):
                        yield one, str(record["id"])
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise ArtifactError(
            f"{where}: expected an advisory in OSV's form: {e}", hint="fetch the advisories again"
        ) from None


def _normal(ecosystem: str, name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower() if ecosystem == "PyPI" else name


def _about(about: Mapping[str, Any], one: Packaged) -> bool:
    """Whether what is ``affected`` covers this version: named, or within a range of the ecosystem's own order."""
    if one.version in (about.get("versions") or ()):
        return True
    order = _order(one.ecosystem)
    version = order(one.version)
    if version is None:
        return False
    for span in about.get("ranges") or ():
        if span.get("type") == "ECOSYSTEM" and _within(span.get("events") or (), version, order):
            return True
    return False


def _order(ecosystem: str) -> Callable[[str], Any]:
    if ecosystem == "PyPI":
        from packaging.version import InvalidVersion, Version

        def parsed(text: str) -> Any:
            try:
                return Version(text)
            except InvalidVersion:
                return None

        return parsed
    from debian.debian_support import Version as Debian

    def of_debian(text: str) -> Any:
        try:
            return Debian(text)
        except ValueError:
            return None

    return of_debian


def _within(events: Iterable[Mapping[str, str]], version: Any, order: Callable[[str], Any]) -> bool:
    """OSV's own evaluation: events in the order of versions, ``introduced`` before others, ``0`` before all."""
    inside = False
    steps = []
    for event in events:
        for kind, text in event.items():
            at = None if kind == "introduced" and text == "0" else order(text)
            if at is not None or text == "0":
                steps.append((at, kind))
    first = [s for s in steps if s[0] is None]
    for at, kind in [
        *first,
        *sorted((s for s in steps if s[0] is not None), key=lambda s: (s[0], s[1] != "introduced")),
    ]:
        if kind == "introduced" and (at is None or version >= at):
            inside = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            inside = False
    return inside
