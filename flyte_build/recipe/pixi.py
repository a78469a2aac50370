"""Pixi projects as users have them → what their ``pixi.lock`` installs: conda packages, and Python's beside them.

A ``pixi.lock`` is read by the library that pixi itself reads it with (py-rattler), as its format is pixi's own and
changes; nothing is resolved here. Reads files; runs nothing. Addresses are left behind: a row names content.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ..kernel.canonical import digest
from ..kernel.errors import LoadError, LockError, RefusedError
from ..kernel.platforms import Platform
from ..kernel.values import dataclass, field
from .conda import CondaPackage
from .requirements import ParsedRequirements
from .source_trees import source_tree

__all__ = ["SUBDIRS", "PixiEnvironment", "addresses", "read_pixi_lock"]

SUBDIRS: Mapping[Platform, str] = {"linux/amd64": "linux-64", "linux/arm64": "linux-aarch64"}
"""Conda's names for platforms (CEP 26)."""

_MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!-]*")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!=-]*\.(conda|tar\.bz2)")
_EXTRA = "py-rattler is what reads a pixi.lock: `pip install 'flyte-build[pixi]'`"


@dataclass(frozen=True, slots=True)
class PixiEnvironment:
    """``packages`` by platform, by name; ``pypi``: the requirements, hashes and sources of Python's own packages;
    ``local``: the folders among the latter that are the user's, as the lock has them."""

    packages: tuple[tuple[Platform, tuple[CondaPackage, ...]], ...]
    python: str
    locked: str
    pypi: ParsedRequirements = field(default_factory=ParsedRequirements)
    local: tuple[str, ...] = ()


def read_pixi_lock(
    path: Path, environment: str, platforms: tuple[Platform, ...], where: str, relative: Callable[[Path], str]
) -> PixiEnvironment:
    """What the ``pixi.lock`` at ``path`` says of ``environment`` on ``platforms``; ``where`` begins messages, and
    ``relative`` gives a path as recipes write it.

    Raises :class:`LoadError` for one that cannot be read, :class:`LockError` for what it lacks, and
    :class:`RefusedError` without py-rattler and for packages that are built of sources, or have no hash.
    """
    held = _environment(path, environment, where)
    packages: list[tuple[Platform, tuple[CondaPackage, ...]]] = []
    parsed, rows = ParsedRequirements(), dict[str, set[str]]()
    local: dict[str, None] = {}
    for platform in platforms:
        conda: dict[str, CondaPackage] = {}
        for one in _locked(held, platform, path, environment):
            if hasattr(one, "requires_dist"):
                text = _pypi(one, path, parsed, local)
                rows.setdefault(text, set()).add(platform)
            else:
                found = _conda(one, path)
                conda[found.name] = found
        packages.append((platform, tuple(conda[name] for name in sorted(conda))))
    for text, on in rows.items():
        marker = "" if len(on) == len(platforms) else f'platform_machine == "{_MACHINES[next(iter(on))]}"'
        _take(text, marker, path, parsed, relative)
    python = _python(dict(packages), path, environment)
    every = [[platform, [p.to_json() for p in some]] for platform, some in packages]
    return PixiEnvironment(tuple(packages), python, digest(every), parsed, tuple(local))  # type: ignore[arg-type]


def addresses(path: Path, where: str) -> dict[str, list[str]]:
    """The places of every conda package of the lock, by SHA-256 (hex). Raises as :func:`read_pixi_lock` does."""
    out: dict[str, list[str]] = {}
    for _, held in _read(path, where).environments():
        for platform in held.platforms():
            for one in held.packages(platform):
                sha256 = None if hasattr(one, "requires_dist") else _sha256(one)
                url = _url(str(one.location), path)
                if sha256 is not None and url not in out.setdefault(sha256, []):
                    out[sha256].append(url)
    return out


def _url(location: str, path: Path) -> str:
    """An address, of a file one as well: a lock may have its path from where the lock is."""
    if re.match(r"[a-z][a-z0-9+]+:", location):
        return location
    return Path(os.path.normpath(path.parent / location)).absolute().as_uri()


def _read(path: Path, where: str) -> Any:
    try:
        from rattler import LockFile
    except ImportError:
        raise RefusedError(f"{where}: {path.name} is pixi's, and nothing here reads it", hint=_EXTRA) from None
    try:
        return LockFile.from_path(path)
    except Exception as e:
        raise LoadError(
            f"{path}: not a pixi.lock that this py-rattler reads: {str(e).splitlines()[0] if str(e) else e!r}",
            hint="upgrade py-rattler, which knows newer formats, or run `pixi lock` again",
        ) from None


def _environment(path: Path, environment: str, where: str) -> Any:
    every = dict(_read(path, where).environments())
    if environment not in every:
        raise LockError(
            f"{path}: has no environment `{environment}`; there are: {', '.join(sorted(every)) or 'none'}",
            hint="name one of these in `environment=`, or add it to the manifest and run `pixi lock`",
        )
    return every[environment]


def _locked(held: Any, platform: Platform, path: Path, environment: str) -> list[Any]:
    """The rows for `platform`: of the one that is named as conda names it, else of the only one that is of its kind
    (a manifest may name its platforms, and say what their machines have)."""
    subdir, every = SUBDIRS[platform], held.platforms()
    found = [one for one in every if str(one.subdir) == subdir]
    found = [one for one in found if one.name == subdir] or found
    if not found:
        raise LockError(
            f"{path}: the environment `{environment}` is not locked for {subdir}, but for "
            f"{', '.join(sorted(str(one) for one in every))}",
            hint=f'add "{subdir}" to `platforms` in the manifest and run `pixi lock`, or make the image for fewer '
            "platforms: `platform=(…)`",
        )
    if len(found) > 1:
        raise RefusedError(
            f"{path}: the environment `{environment}` is locked for {len(found)} platforms that are all {subdir}: "
            f"{', '.join(sorted(str(one) for one in found))}",
            hint="an image is for one of them: name an environment that has only it (`platforms` of a feature) in "
            "`environment=`, and run `pixi lock`",
        )
    return list(held.packages(found[0]) or ())


def _sha256(one: Any) -> str | None:
    try:
        return one.hashes.sha256.hex() if one.hashes is not None and one.hashes.sha256 is not None else None
    except AttributeError:  # py-rattler's, where a row has no hashes at all
        return None


def _conda(one: Any, path: Path) -> CondaPackage:
    record = json.loads(one.package_record.to_json()) if one.package_record is not None else {}
    name, file = str(one.name), unquote(urlsplit(str(one.location)).path).rsplit("/", 1)[-1]
    if not record or not _FILE.fullmatch(file):
        raise RefusedError(
            f"{path}: {name} is built of its sources ({file or 'a folder'}), which makes no package that a lock names",
            hint="publish it to a channel (`pixi publish`, `rattler-build`), and depend on that",
        )
    if (sha256 := _sha256(one)) is None or not isinstance(record.get("size"), int):
        raise RefusedError(
            f"{path}: {file}: expected a SHA-256 and a size, found {'no size' if sha256 else 'no SHA-256'}",
            hint="`pixi lock` writes both where the channel states them",
        )
    texts = {key: str(record.get(key, "")) for key in ("version", "build", "subdir")}
    site = record.get("python_site_packages_path")
    if site is not None and site != f"lib/python{'.'.join(texts['version'].split('.')[:2])}/site-packages":
        raise RefusedError(
            f"{path}: {file} is a Python of another kind (its packages lie in `{site}`), which is not locked so far",
            hint="depend on `python-gil`, for the ordinary build",
        )
    if not all(_NAME.fullmatch(text) for text in (name, *texts.values())):
        raise LoadError(f"{path}: {file}: expected a package's name, version, build and folder, found something else")
    depends = [text for one in record.get("depends") or () if (text := str(one).strip())]
    needs = sorted({text.split()[0].partition("[")[0] for text in depends})
    asked = {*depends, *map(str, record.get("constrains") or ())}
    machine = tuple(sorted(text for text in asked if text.startswith("__")))
    pypi = tuple(sorted({*filter(None, (_purl(str(text)) for text in record.get("purls") or ()))}))
    size = record["size"]
    return CondaPackage(
        name, **texts, file=file, size=size, sha256=sha256, needs=tuple(needs), pypi=pypi, machine=machine
    )


def _purl(text: str) -> str | None:
    """The distribution's name of a package URL of the type ``pypi``."""
    found = re.match(r"pkg:pypi/([^@?#/]+)", text)
    return str(canonicalize_name(unquote(found[1]))) if found else None


def _python(packages: Mapping[Platform, tuple[CondaPackage, ...]], path: Path, environment: str) -> str:
    """The minor version of the environment's Python."""
    found: dict[str, Platform] = {}
    for platform, some in packages.items():
        version = next((p.version for p in some if p.name == "python"), None)
        if version is None:
            raise RefusedError(
                f"{path}: the environment `{environment}` has no python on {SUBDIRS[platform]}, which tasks run with",
                hint="add python to the manifest's dependencies, and run `pixi lock`",
            )
        found.setdefault(".".join(version.split(".")[:2]), platform)
    if len(found) > 1:
        said = ", ".join(f"{minor} on {platform}" for minor, platform in found.items())
        raise RefusedError(
            f"{path}: the environment `{environment}` has not one Python on every platform: {said}",
            hint='pin its minor version in the manifest (`python = "3.12.*"`) and run `pixi lock`',
        )
    return next(iter(found))


def _pypi(one: Any, path: Path, parsed: ParsedRequirements, local: dict[str, None]) -> str:
    """What installs the package ``one``, as a requirement; the hash that is allowed goes into ``parsed``."""
    name, place, sha256 = str(canonicalize_name(str(one.name))), str(one.location), _sha256(one)
    if place.startswith("git+"):
        return f"{name} @ {place}"
    if not re.match(r"https?://", place):
        plain = place.removeprefix("file://")
        if not plain.endswith((".whl", ".tar.gz", ".zip")):
            local[plain] = None
        return f"{name} @ {plain if Path(plain).is_absolute() else './' + plain.removeprefix('./')}"
    if sha256 is None:
        raise RefusedError(
            f"{path}: {name}: expected a SHA-256, found none", hint="run `pixi lock` with an index that states hashes"
        )
    try:
        version = str(Version(str(one.version)))
    except InvalidVersion:
        raise LoadError(f"{path}: {name}: `{one.version}` is no version of a Python package") from None
    parsed.hashes[name] = tuple(dict.fromkeys((*parsed.hashes.get(name, ()), sha256)))
    return f"{name}=={version}"


def _take(text: str, marker: str, path: Path, parsed: ParsedRequirements, relative: Callable[[Path], str]) -> None:
    if " @ " not in text:
        parsed.requirements.append(f"{text} ; {marker}" if marker else text)
        return
    tree = source_tree(f"{text} ; {marker}" if marker else text, str(path), path.parent, relative)
    if tree is None:
        raise LoadError(f"{path}: `{text.partition(' @ ')[0]}`: a source of a kind that is not known")
    parsed.sources.append(tree)
