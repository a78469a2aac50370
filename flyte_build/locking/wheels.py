"""Which wheel of a version goes into an image: the target's tags, and a choice that is the same everywhere.

The target is the image's Python and C library, never this machine's: tags come from ``packaging.tags``
asked about another interpreter (platform compatibility tags; manylinux: PEP 600), markers from an
environment written out here (dependency specifiers, "Environment Markers").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging import tags
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from ..kernel.errors import ResolutionError
from ..kernel.pythons import is_threaded, numbers, plain
from ..recipe import Platform
from ..sources.indexes import IndexFile

__all__ = ["Target", "best", "fitting", "glibc_of", "version_of"]

# The C library of a released suite does not change; other suites' is read off their locked libc6.
_GLIBC = {"bullseye": (2, 31), "bookworm": (2, 36), "trixie": (2, 41)}
_MACHINE = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}


def glibc_of(suite: str, libc6: str | None = None) -> tuple[int, int]:
    """The glibc release of a Debian suite; ``libc6`` is its package's version where it is known."""
    if suite in _GLIBC:
        return _GLIBC[suite]
    try:
        major, minor = (libc6 or "").split("-")[0].split(".")[:2]
        return int(major), int(minor)
    except ValueError:
        raise ResolutionError(
            f"the C library of Debian {suite} is not known, so that no wheel can be chosen for it",
            hint=f"known suites: {', '.join(_GLIBC)}",
        ) from None


@dataclass(frozen=True, slots=True)
class Target:
    """Where wheels will be installed: ``python`` is ``"3.11"`` or ``"3.13t"``, ``python_full`` ``"3.11.2"``, glibc
    ``(2, 36)``."""

    platform: Platform
    python: str
    python_full: str
    glibc: tuple[int, int]

    @property
    def machine(self) -> str:
        return _MACHINE[self.platform]

    @property
    def markers(self) -> dict[str, str]:
        """The environment that markers are judged in. The kernel is not the image's: its release is empty."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.python_full,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.python_full,
            "python_version": plain(self.python),
            "sys_platform": "linux",
        }

    @property
    def tags(self) -> Mapping[tags.Tag, int]:
        """Every tag a wheel may have, with its rank; 0 is the most specific."""
        return _tags(self.python, self.machine, self.glibc)

    def __str__(self) -> str:
        return f"{self.platform}, Python {self.python}, glibc {self.glibc[0]}.{self.glibc[1]}"


@cache
def _tags(python: str, machine: str, glibc: tuple[int, int]) -> Mapping[tags.Tag, int]:
    version = numbers(python)
    oldest = 5 if machine == "x86_64" else 17
    platforms = [f"linux_{machine}"]
    for release in range(glibc[1], oldest - 1, -1):
        platforms.append(f"manylinux_2_{release}_{machine}")
        if (2, release) in _LEGACY:
            platforms.append(f"{_LEGACY[2, release]}_{machine}")
    interpreter = f"cp{version[0]}{version[1]}"
    ordered = [
        *tags.cpython_tags(version, [f"{interpreter}t" if is_threaded(python) else interpreter], platforms),
        *tags.compatible_tags(version, interpreter, platforms),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(ordered)))}


def best(name: str, version: str, files: Iterable[IndexFile], target: Target) -> IndexFile:
    """The wheel of ``files`` (all of one version) for ``target``: the most specific tag, then the highest
    build number, then the index asked first, then the name. Raises :class:`ResolutionError` saying what
    there is instead."""
    wheels = [f for f in files if f.name.endswith(".whl")]
    fitting = []
    for file in wheels:
        try:
            _, _, build, file_tags = parse_wheel_filename(file.name)
        except InvalidWheelFilename:
            continue
        ranks = [target.tags[tag] for tag in file_tags if tag in target.tags]
        if ranks and _python_fits(file, target):
            number = build[0] if build else -1
            fitting.append((min(ranks), -number, build[1] if build else "", file.index, file.name, file))
    if fitting:
        return min(fitting, key=lambda entry: entry[:5])[5]
    raise _nothing_fits(name, version, list(files), wheels, target)


def fitting(files: Iterable[Path], target: Target) -> tuple[Path, ...]:
    """Of local wheels of one version for several platforms, the one for ``target``; all others as they are, once."""
    groups: dict[tuple[str, str], list[tuple[int, Path]]] = {}
    for file in dict.fromkeys(files):
        try:
            name, version, _, file_tags = parse_wheel_filename(file.name)
        except InvalidWheelFilename:
            groups[file.name, ""] = [(0, file)]
            continue
        rank = min((target.tags[tag] for tag in file_tags if tag in target.tags), default=len(target.tags))
        groups.setdefault((name, str(version)), []).append((rank, file))
    return tuple(min(group)[1] for group in groups.values())


def version_of(file: IndexFile) -> str | None:
    """The version in a wheel's name, normalised; ``None`` for other files."""
    try:
        return str(parse_wheel_filename(file.name)[1])
    except InvalidWheelFilename:
        return None


def _python_fits(file: IndexFile, target: Target) -> bool:
    try:
        return SpecifierSet(file.requires_python or "").contains(target.python_full, prereleases=True)
    except InvalidSpecifier:
        return True


def _nothing_fits(
    name: str, version: str, files: list[IndexFile], wheels: list[IndexFile], target: Target
) -> ResolutionError:
    if wheels:
        shown = sorted(f.name.removesuffix(".whl").split("-", 2)[2] for f in wheels)
        there = f"its wheels are for: {', '.join(shown[:8])}" + (
            f" and {len(shown) - 8} more" if len(shown) > 8 else ""
        )
    elif files:
        there = "it has a source distribution only, and those are not built"
    else:
        there = "the index lists no file of this version"
    return ResolutionError(
        f"{name} {version}: no wheel for {target}; {there}",
        hint=_way_out(wheels, target),
    )


def _way_out(wheels: list[IndexFile], target: Target) -> str:
    """What to do where none of these wheels fits."""
    machines = {f"_{machine}.whl": platform for platform, machine in _MACHINE.items()}
    others = sorted({p for f in wheels for end, p in machines.items() if f.name.endswith(end) and "linux" in f.name})
    if others and target.platform not in others:
        named = " ".join(f'"{p}",' for p in others)
        only = " and ".join(others)
        return f"where the image is to run on {only} only, say so: `platform=({named})`; else ask for another version"
    return "ask for another version or platform, or build the wheel and add it to the image as a local wheel"
