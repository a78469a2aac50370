"""Which of the pinned distributions an environment needs, and since which step. Pure: metadata in, steps out.

The resolver solves all environments at once; what each of them needs is read off the wheels' own
requirements by walking them on the image's target: markers (PEP 508), extras (PEP 685), every version
checked against every specifier that applies. So an environment's wheels are exact without asking the
resolver again, and a pin that the resolver made for another machine than the image's is found out here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from ...kernel.errors import RefusedError, ResolutionError
from ..wheels import Target
from .question import requirement

__all__ = ["Distribution", "closure"]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A pinned distribution and what its wheel states: ``requires`` (PEP 508) and ``requires_python``."""

    name: str
    version: str
    requires: tuple[str, ...]
    requires_python: str | None = None


def closure(
    steps: Sequence[Sequence[str]], pinned: Mapping[str, Distribution | Exception], target: Target, where: str
) -> dict[str, int]:
    """The normalised names that ``steps`` need together, each with the earliest step whose closure holds it.

    ``steps`` are the requirements, step 0 first. A pin may be the error of why it has no wheel, raised only
    if it is needed. Raises :class:`ResolutionError` naming who requires what is not there or does not fit.
    """
    walk = _Walk(pinned, target, where)
    for number, step in enumerate(steps):
        for text in step:
            walk.require(requirement(text, where), "", number, where)
        walk.drain(number)
    return walk.steps


@lru_cache(maxsize=1 << 14)
def _requirement(text: str) -> Requirement:
    """Each wheel's requirements are read for every environment and platform that has it."""
    return Requirement(text)


class _Walk:
    def __init__(self, pinned: Mapping[str, Distribution | Exception], target: Target, where: str) -> None:
        self.steps: dict[str, int] = {}
        self._pinned, self._target, self._where = pinned, target, where
        self._seen: set[tuple[str, str]] = set()
        self._waiting: list[tuple[Distribution, str]] = []

    def require(self, wanted: Requirement, extra: str, step: int, by: str) -> None:
        if wanted.marker is not None and not wanted.marker.evaluate({**self._target.markers, "extra": extra}):
            return
        name = canonicalize_name(wanted.name)
        found = self._pinned.get(name)
        if isinstance(found, Exception):
            raise found
        if found is None:
            raise ResolutionError(
                f"{self._where}: {by} requires `{wanted}` on {self._target}, and the resolver left it out",
                hint="the resolver judged markers for another machine than the image's; lock with uv",
            )
        if not wanted.specifier.contains(found.version, prereleases=True):
            raise ResolutionError(f"{self._where}: {by} requires `{wanted}`, the resolver chose {found.version}")
        if name not in self.steps:
            self.steps[name] = step
            self._check_python(found)
        for one in ("", *sorted(canonicalize_name(e) for e in wanted.extras)):
            if (name, one) not in self._seen:
                self._seen.add((name, one))
                self._waiting.append((found, one))

    def drain(self, step: int) -> None:
        while self._waiting:
            distribution, extra = self._waiting.pop()
            by = f"{distribution.name} {distribution.version}"
            for text in distribution.requires:
                self.require(self._parsed(text, by), extra, step, by)

    def _parsed(self, text: str, by: str) -> Requirement:
        try:
            wanted = _requirement(text)
        except InvalidRequirement as e:
            raise ResolutionError(
                f"{self._where}: {by} states a requirement that is not PEP 508: `{text}`: {str(e).splitlines()[0]}",
                hint=f"ask for another version of {by.split()[0]}",
            ) from None
        if wanted.url is not None:
            raise RefusedError(
                f"{self._where}: {by} requires {wanted.name} from a location, which a lock cannot name",
                hint=f"ask for another version of {by.split()[0]}",
            )
        return wanted

    def _check_python(self, found: Distribution) -> None:
        try:
            allowed = SpecifierSet(found.requires_python or "")
        except InvalidSpecifier:
            return
        if not allowed.contains(self._target.python_full, prereleases=True):
            raise ResolutionError(
                f"{self._where}: {found.name} {found.version} requires Python {found.requires_python}, "
                f"the image has {self._target.python_full}"
            )
