"""What uv says of a project (a pylock.toml, PEP 751) → the wheels of one target, or why one of them cannot be had.

Which packages there are is uv's word: markers are judged for the image, and nothing is added, left out or looked up by
its name. What would have to be built is refused, and never replaced by what an index has under that name.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.markers import Marker
from packaging.pylock import Package, PackageArchive, PackageSdist, PackageWheel, Pylock, PylockValidationError
from packaging.utils import canonicalize_name, parse_wheel_filename

from ...kernel.errors import FlyteBuildError, RefusedError, ResolutionError
from ...recipe import SourceTree
from ...sources.indexes import IndexFile
from ..wheels import Target
from .question import Answer, Pin
from .uv_projects import Exported

__all__ = ["Spoken", "spoken"]


@dataclass(frozen=True, slots=True)
class Spoken:
    """The pins of one target. ``registries``: the name and the index (``None``: none) that uv saw each file's URL on.
    ``editable``: the local packages that are installed in place, of which the image gets what they require. ``trees``:
    repositories and folders by the name of what is built of them; ``archives``: source distributions, with the version
    and whether they are from an address or file, and not of an index. Both have no pins."""

    answer: Answer
    registries: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    editable: tuple[str, ...] = ()
    trees: Mapping[str, SourceTree] = field(default_factory=dict)
    archives: Mapping[str, tuple[str, IndexFile, bool]] = field(default_factory=dict)


def spoken(exported: Exported, target: Target, where: str, *, builds: bool = False, installs: bool = False) -> Spoken:
    """uv's answer for ``target``; ``where`` names the environment in errors. ``installs``: with the code of packages
    that would be left in place.

    Raises :class:`RefusedError` for what has no wheel and would have to be built, where nothing ``builds``, and
    :class:`ResolutionError` for a Python that the project excludes.
    """
    asked = exported.files.main.file
    try:
        lock = Pylock.from_dict(tomllib.loads(exported.text))
    except PylockValidationError as e:
        raise RefusedError(
            f"{where}: uv names a package for {asked} and not where it is from: {e}",
            hint="what lies in a repository of another package (an archive, a wheel) has to be named by an address",
        ) from None
    except tomllib.TOMLDecodeError as e:
        raise FlyteBuildError(f"{asked}: uv's answer is not a pylock.toml (PEP 751): {e}") from None
    if lock.requires_python is not None and not lock.requires_python.contains(target.python_full, prereleases=True):
        raise ResolutionError(
            f"{where}: {asked} requires Python {lock.requires_python}, the image has {target.python_full}",
            hint="give the image a Python that fits with python_version=",
        )
    if lock.environments and not any(_holds(marker, target) for marker in lock.environments):
        supported = ", ".join(f"`{marker}`" for marker in lock.environments)
        raise ResolutionError(
            f"{where}: {asked} supports {supported}, and not {target}",
            hint="widen `environments` in [tool.uv], or give the image another platform or Python",
        )
    pins: dict[str, Pin] = {}
    registries: dict[str, tuple[str, str | None]] = {}
    editable: list[str] = []
    trees: dict[str, SourceTree] = {}
    archives: dict[str, tuple[str, IndexFile, bool]] = {}
    reader = _Reader(exported, where)
    for package in lock.packages:
        if package.marker is not None and not _holds(package.marker, target):
            continue
        name = canonicalize_name(package.name)
        if package.directory is not None and package.directory.editable and not installs:
            editable.append(name)
            continue
        if builds and (tree := reader.tree(name, package)) is not None:
            trees[name] = tree
            continue
        if builds and (archive := reader.source(name, package)) is not None:
            archives[name] = archive
            registries |= {archive[1].url: (name, package.index)}
            continue
        if name in pins:
            raise ResolutionError(f"{where}: {asked}: uv names {name} twice for {target}")
        pins[name] = reader.pin(name, package)
        registries |= {file.url: (name, package.index) for file in pins[name].files or ()}
    return Spoken(Answer(pins, exported.warnings), registries, tuple(sorted(editable)), trees, archives)


def _holds(marker: Marker, target: Target) -> bool:
    chosen = {"extras": frozenset[str](), "dependency_groups": frozenset[str]()}
    return marker.evaluate({**target.markers, **chosen}, context="lock_file")


class _Reader:
    def __init__(self, exported: Exported, where: str) -> None:
        self._exported, self._where = exported, where
        self._asked = exported.files.main.file

    def pin(self, name: str, package: Package) -> Pin:
        if package.vcs is not None:
            raise self._built(name, f"the repository `{_shown(package.vcs.url or package.vcs.path or '')}`")
        if package.directory is not None:
            raise self._built(
                name,
                f"the source tree `{package.directory.path}`",
                "say `editable = true` of it and bring its code with with_source_folder or the code bundle, or build "
                "its wheel and name that by path",
            )
        if package.archive is not None:
            file = self._file(package.archive)
            if not file.name.endswith(".whl"):
                raise self._built(name, f"the source archive `{file.name}`")
            return Pin(name, str(parse_wheel_filename(file.name)[1]), (file,))
        files = tuple(self._file(wheel) for wheel in package.wheels or ())
        if not files:
            raise self._built(name, f"a source distribution: {name} {package.version} has no wheel")
        return Pin(name, str(package.version), files)

    def tree(self, name: str, package: Package) -> SourceTree | None:
        """The repository or folder that is built, whose path is absolute."""
        if package.vcs is not None and package.vcs.type == "git":
            url = package.vcs.url or self._local(package.vcs.path or "").as_uri()
            commit = self._exported.commits.get(package.vcs.commit_id, package.vcs.commit_id)
            return SourceTree(name, git=url, rev=commit, subdirectory=package.vcs.subdirectory)
        if package.directory is not None:
            at = self._local(package.directory.path)
            return SourceTree(name, path=str(at / (package.directory.subdirectory or "")))
        return None

    def source(self, name: str, package: Package) -> tuple[str, IndexFile, bool] | None:
        """The source distribution of a package that has no wheel. Raises :class:`RefusedError` for a part of one."""
        found: PackageSdist | PackageArchive | None = package.archive
        if found is None and not package.wheels:
            found = package.sdist
        if found is None:
            return None
        file = self._file(found)
        if file.name.endswith(".whl"):
            return None
        if package.archive is not None and package.archive.subdirectory is not None:
            raise self._built(
                name,
                f"the folder `{package.archive.subdirectory}` of the archive `{file.name}`",
                "name its repository in [tool.uv.sources] (`git = …, subdirectory = …`), or an archive of that alone",
            )
        theirs = self._exported.archives.get(file.sha256 or "", file)
        return str(package.version or "0"), theirs, package.archive is not None

    def _file(self, found: PackageWheel | PackageArchive | PackageSdist) -> IndexFile:
        url = found.url if found.url is not None else self._local(found.path or "").as_uri()
        if url.startswith("file:"):
            url = self._local(unquote(urlsplit(url).path)).as_uri()
        name = getattr(found, "name", None) or unquote(urlsplit(url).path.rsplit("/", 1)[-1])
        return IndexFile(name, url, sha256=dict(found.hashes).get("sha256"), size=found.size)

    def _local(self, path: str) -> Path:
        at = Path(os.path.normpath(self._exported.files.folder / path))
        seen, real = self._exported.moved or (at, at)
        return real / at.relative_to(seen) if self._exported.moved is not None and at.is_relative_to(seen) else at

    def _built(self, name: str, source: str, hint: str | None = None) -> RefusedError:
        return RefusedError(
            f"{self._where}: {self._asked}: {name} comes from {source}, which would have to be built",
            hint=hint
            or "publish it as a wheel to an index, or build the wheel and name it in [tool.uv.sources] by path",
        )


def _shown(url: str) -> str:
    return re.sub(r"(://)[^/\s@]+@", r"\1***@", url)
