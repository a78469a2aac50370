"""Pinned versions → wheels: one for each, with its hash, its size and what it requires.

A resolver that names no files (pip-tools) has them looked up; either way the choice is that of
``..wheels.best``, so that the same version is the same wheel whoever chose the version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename

from ...kernel.errors import ResolutionError
from ...kernel.reporting import Reporter
from ...locks.lockfile import LockedWheel
from ...sources.indexes import IndexClient, IndexFile, WheelMetadata
from ..wheels import Target, best, version_of
from .closure import Distribution
from .question import Answer, Pin

__all__ = ["Chosen", "choose"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The wheel of every pin that has one; ``distributions`` holds the error for one that has none."""

    wheels: dict[str, tuple[IndexFile, str, WheelMetadata]]
    distributions: dict[str, Distribution | Exception]

    def locked(self, name: str, step: int) -> LockedWheel:
        file, version, found = self.wheels[name]
        return LockedWheel(name, version, file.name, found.size, found.sha256, step)


def choose(
    answer: Answer,
    target: Target,
    client: IndexClient,
    local: Sequence[Path],
    reporter: Reporter,
    allowed: Mapping[str, frozenset[str]] | None = None,
) -> Chosen:
    """Choose a wheel for every pin; ``local`` wheels stand for their names whatever an index has. ``allowed`` are the
    SHA-256 that may be chosen from, by name, where somebody listed them and the index has any of these."""
    files: dict[str, tuple[IndexFile, str]] = {}
    errors: dict[str, Exception] = {}
    for path in local:
        name, version, _, _ = parse_wheel_filename(path.name)
        files[canonicalize_name(name)] = (_local(path, str(version), target), str(version))
    pins = [pin for name, pin in sorted(answer.pins.items()) if name not in files]
    unknown = [pin.name for pin in pins if pin.files is None]
    with ThreadPoolExecutor(max_workers=8) as pool:
        listed = dict(zip(unknown, pool.map(client.files, unknown), strict=True))
    for pin in pins:
        try:
            files[pin.name] = (_pick(pin, listed, target, (allowed or {}).get(pin.name)), pin.version)
        except ResolutionError as e:
            errors[pin.name] = e
    names = sorted(files)
    found = client.metadata_of([files[name][0] for name in names], reporter)
    wheels = {name: (*files[name], metadata) for name, metadata in zip(names, found, strict=True)}
    distributions: dict[str, Distribution | Exception] = {
        name: Distribution(name, version, metadata.requires, metadata.requires_python)
        for name, (_, version, metadata) in wheels.items()
    }
    return Chosen(wheels, {**distributions, **errors})


def _local(path: Path, version: str, target: Target) -> IndexFile:
    file = IndexFile(path.name, path.absolute().as_uri(), size=path.stat().st_size)
    return best(path.name.split("-")[0], version, [file], target)


def _pick(
    pin: Pin, listed: dict[str, tuple[IndexFile, ...]], target: Target, allowed: frozenset[str] | None
) -> IndexFile:
    files = pin.files
    if files is None:
        files = tuple(f for f in listed[pin.name] if version_of(f) == pin.version)
    if allowed is not None:
        files = tuple(f for f in files if f.sha256 in allowed) or files
    return best(pin.name, pin.version, files, target)
