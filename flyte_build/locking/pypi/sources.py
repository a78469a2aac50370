"""Packages of which an index has no wheel: which source distribution is built, and with what. Builds nothing itself.

A resolver is never let near a source: it says which packages have no wheel, the newest version that was asked for is
built in a sandbox (by whoever the caller gives), and the resolver is asked again with the wheel as a local one. What
the build requires (PEP 518) is resolved as all else is, from wheels; where those have none, they are built first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from ...kernel.errors import ResolutionError
from ...kernel.reporting import Reporter
from ...locks.builds import LockedBuild
from ...locks.nouns import LockedDeb, LockedWheel
from ...sources.indexes import IndexClient, IndexFile, IndexSettings
from ..wheels import Target
from .choice import choose
from .question import NoSolution, Question, Resolver

__all__ = ["Build", "Built", "CannotRun", "Origin", "Sources", "ToBuild", "without_wheels"]

# What uv says at the end of an answer, once for each package.
_NO_WHEELS = re.compile(r"Wheels are required for `([^`]+)` because building from source is disabled")
# What pip says of a package of which it may take no file; of one that does not exist, too.
_NO_FILES = re.compile(r"find a version that satisfies the requirement ([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")
_DEPTH = 5


class CannotRun(ResolutionError):
    """This machine runs no programs of the platform that a wheel is to be built for."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Of a source that no index has: the digest of what was ``asked``, and the ``commit`` where it is a repository."""

    asked: str
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class ToBuild:
    """``file`` of ``name`` in ``version``, to be had from ``client``; ``resolve`` gives the wheels of requirements.
    ``origin``: where it is from, if no index has it; ``version`` then only names it. A ``file`` that is a wheel is only
    brought here."""

    environment: str
    target: Target
    name: str
    version: str
    file: IndexFile
    client: IndexClient
    resolve: Callable[[Sequence[str]], tuple[LockedWheel, ...]]
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """A wheel, in a file of its own name, and how it was made (``None``: it was not, it is as it was found);
    ``tools``: the Debian packages that it took."""

    path: Path
    record: LockedBuild | None
    tools: tuple[LockedDeb, ...] = ()


Build = Callable[[ToBuild], Built]


def without_wheels(error: NoSolution) -> tuple[str, ...]:
    """The packages for want of whose wheels there is no solution, by normalised name."""
    return tuple(dict.fromkeys(str(canonicalize_name(name)) for name in _NO_WHEELS.findall(error.detail or "")))


def _sources_only(error: NoSolution, client: IndexClient) -> tuple[str, ...]:
    """Those of which pip found nothing, and an index has source distributions and no wheel."""
    names = dict.fromkeys(str(canonicalize_name(name)) for name in _NO_FILES.findall(error.detail or ""))

    def kinds(name: str) -> set[bool]:
        return {file.name.endswith(".whl") for file in client.files(name)}

    return tuple(name for name in names if kinds(name) == {False})


class Sources:
    """Builds each source once. ``build`` ``None``: none is built. ``targets``: those that an environment has besides;
    a wheel without machine code that was built for one of them serves all."""

    def __init__(
        self,
        build: Build | None,
        resolver: Resolver,
        cutoff: str | None,
        reporter: Reporter,
        targets: Mapping[str, Sequence[Target]] | None = None,
    ) -> None:
        self._build, self._resolver, self._cutoff, self._reporter = build, resolver, cutoff, reporter
        self._targets = targets or {}
        self._built: dict[tuple[str, str, Target], Built] = {}

    @property
    def builds(self) -> bool:
        """Whether anything can be built."""
        return self._build is not None

    def wheels(
        self,
        error: NoSolution,
        texts: Sequence[str],
        target: Target,
        environment: str,
        client: IndexClient,
        depth: int = 0,
    ) -> dict[str, Built]:
        """Wheels of the packages that ``error`` is about, by name; ``texts`` are the requirements that were asked."""
        if self._build is None or depth > _DEPTH:
            return {}
        found = {}
        for name in without_wheels(error) or _sources_only(error, client):
            version, file = _newest(name, texts, client, self._cutoff, target)
            found[name] = self._made((name, version), version, file, None, target, environment, client, depth + 1)
        return found

    def of_tree(
        self,
        name: str,
        version: str,
        file: IndexFile,
        origin: Origin | None,
        target: Target,
        environment: str,
        client: IndexClient,
    ) -> Built | None:
        """The wheel of the archive ``file``, or ``file`` where it is one; ``None`` where nothing is built."""
        if self._build is None:
            return None
        key = (name, f"{version} {file.sha256}")
        return self._made(key, version, file, origin, target, environment, client, 1)

    def _made(
        self,
        key: tuple[str, str],
        version: str,
        file: IndexFile,
        origin: Origin | None,
        target: Target,
        environment: str,
        client: IndexClient,
        depth: int,
    ) -> Built:
        """The wheel for ``target``. Where this machine cannot run its programs: that of another platform of the
        environment, if it says that it is for any (binary distribution format, "File name convention")."""
        assert self._build is not None
        refused: CannotRun | None = None
        others = (t for t in self._targets.get(environment, ()) if t.platform != target.platform)
        for one in (target, *others):
            if (*key, one) not in self._built:

                def resolve(requirements: Sequence[str], on: Target = one) -> tuple[LockedWheel, ...]:
                    return self._required(requirements, on, environment, client, depth)

                asked = ToBuild(environment, one, key[0], version, file, client, resolve, origin)
                try:
                    self._built[*key, one] = self._build(asked)
                except CannotRun as e:
                    refused = refused or e
                    continue
            built = self._built[*key, one]
            if one == target:
                return built
            if _for_any(built.path.name) and built.record is not None:
                lent = replace(built, record=replace(built.record, platform=one.platform), tools=())
                return self._built.setdefault((*key, target), lent)
            break
        assert refused is not None
        raise refused

    def _required(
        self, requirements: Sequence[str], target: Target, environment: str, client: IndexClient, depth: int
    ) -> tuple[LockedWheel, ...]:
        """What a build requires, with all that this requires in turn."""
        settings: IndexSettings = client.settings
        question = Question(target, tuple(requirements), settings, cutoff=self._cutoff)
        built: dict[str, Built] = {}
        while True:
            try:
                answer = self._resolver.resolve(question)
                break
            except NoSolution as e:
                more = self.wheels(e, requirements, target, environment, client, depth)
                if not more.keys() - built.keys():
                    raise
                built |= more
                question = replace(question, wheels=tuple(one.path for one in built.values()))
        chosen = choose(answer, target, client, question.wheels, self._reporter)
        for trouble in chosen.distributions.values():
            if isinstance(trouble, Exception):
                raise trouble
        return tuple(chosen.locked(name, 1) for name in sorted(chosen.wheels))


def _for_any(wheel: str) -> bool:
    return all(tag.platform == "any" for tag in parse_wheel_filename(wheel)[3])


def _newest(
    name: str, texts: Sequence[str], client: IndexClient, cutoff: str | None, target: Target
) -> tuple[str, IndexFile]:
    """The newest source distribution of ``name`` that the requirements allow: its version and file."""
    allowed = SpecifierSet()
    for text in texts:
        parsed = Requirement(text)
        if canonicalize_name(parsed.name) == name and (parsed.marker is None or parsed.marker.evaluate(target.markers)):
            allowed &= parsed.specifier
    found: dict[Version, IndexFile] = {}
    settings: IndexSettings = client.settings
    cutoffs = dict(enumerate(settings.cutoff_of(index, cutoff) for index in settings.indexes))
    for file in client.files(name):
        try:
            project, version = parse_sdist_filename(file.name)
        except InvalidSdistFilename:
            continue
        if project == name and file.yanked is None and _fits(file, cutoffs.get(file.index, cutoff), target):
            found.setdefault(version, file)
    good = list(allowed.filter(found))
    if not good:
        raise ResolutionError(
            f"{name}{allowed}: no wheel for {target}, and no source distribution of a version that was asked for",
            hint="ask for another version, or add a wheel of it to the image as a local one",
        )
    version = max(good)
    return str(version), found[version]


def _fits(file: IndexFile, cutoff: str | None, target: Target) -> bool:
    if cutoff is not None and (file.upload_time is None or file.upload_time >= cutoff):
        return False
    try:
        return file.requires_python is None or target.python_full in SpecifierSet(file.requires_python)
    except InvalidSpecifier:
        return True
