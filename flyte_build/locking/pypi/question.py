"""What a resolver is asked and what it answers: the one interface of uv and pip-tools.

A question is complete: everything that may change the answer is in it, nothing is taken from the
resolver's own configuration or environment.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from ...kernel.errors import RefusedError, ResolutionError
from ...kernel.scratch import PREFIX
from ...sources.indexes import IndexFile, IndexSettings, redact
from ..wheels import Target

__all__ = ["Answer", "NoSolution", "Pin", "Question", "Resolver", "asked", "ignored", "requirement", "trimmed"]


class NoSolution(ResolutionError):
    """The requirements contradict each other, or ask for what no index has; ``detail`` is the resolver's own words."""


@dataclass(frozen=True, slots=True)
class Question:
    """``requirements`` and ``constraints`` are PEP 508; ``preferences`` are versions to keep where possible.

    ``cutoff`` is RFC 3339 in UTC: files uploaded at or after it do not exist. ``refresh`` names whose cached
    pages must not be believed: nobody's, everybody's (``True``) or these packages'. ``wheels`` are local files;
    ``stand_ins``, too, for packages that are settled already and are looked up nowhere.
    """

    target: Target
    requirements: tuple[str, ...]
    settings: IndexSettings
    constraints: tuple[str, ...] = ()
    pre: bool = False
    wheels: tuple[Path, ...] = ()
    preferences: Mapping[str, str] = field(default_factory=dict)
    cutoff: str | None = None
    refresh: bool | tuple[str, ...] = False
    stand_ins: tuple[Path, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The requirements as a requirements file has them, local wheels by their path."""
        return sorted({*self.asked, *map(_by_path, self.stand_ins)})

    @property
    def asked(self) -> list[str]:
        """Those that somebody asked for, for messages."""
        return sorted({*self.requirements, *map(_by_path, self.wheels)})

    @property
    def own_cutoffs(self) -> bool:
        """Whether another cut-off holds for one of the indexes."""
        return any(self.settings.cutoff_of(index, self.cutoff) != self.cutoff for index in self.settings.indexes)

    @property
    def way_out(self) -> str:
        """What to try when there is no solution; a cut-off may be why."""
        if self.stand_ins:
            return "what uv names for a project stands: ask for versions that agree with it, or change the project"
        if self.cutoff is None:
            return "ask for versions that agree"
        return f"nothing uploaded since {self.cutoff} was considered; try a later cut-off"


@dataclass(frozen=True, slots=True)
class Pin:
    """One chosen version; ``files`` are its files where the resolver names them, ``None`` where it does not."""

    name: str
    version: str
    files: tuple[IndexFile, ...] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The pins by normalised name, and the resolver's warnings, one line each."""

    pins: Mapping[str, Pin]
    warnings: tuple[str, ...] = ()


def _by_path(wheel: Path) -> str:
    return f"{parse_wheel_filename(wheel.name)[0]} @ {wheel.absolute().as_uri()}"


class Resolver(Protocol):
    """Chooses versions. ``name`` and ``version`` are recorded in the lock."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def resolve(self, question: Question) -> Answer:
        """Raises :class:`NoSolution`, :class:`FetchError` when an index cannot be asked, and
        :class:`RefusedError` for a target or option that this resolver cannot honour."""


def requirement(text: str, where: str) -> Requirement:
    """``text`` parsed; raises :class:`RefusedError` for what installs from a location (laws 1 and 9)."""
    try:
        parsed = Requirement(text)
    except InvalidRequirement as e:
        raise ResolutionError(f"{where}: `{text}` is not a requirement: {str(e).splitlines()[0]}") from None
    if parsed.url is not None:
        raise RefusedError(
            f"{where}: `{redact(text)}` installs from a location, which a lock cannot name",
            hint=f"publish {canonicalize_name(parsed.name)} as a wheel to an index, or add the wheel as a local file",
        )
    return parsed


_NOISE = ("Using CPython", "will be used to build dependencies", "A managed Python download is available")


# A stand-in in a resolver's words: the version that it stands for is what counts.
_STAND_IN = re.compile(rf" ?@ file://\S*{re.escape(PREFIX)}\S*/[^/\s-]+-([^/\s-]+)-py3-none-any\.whl")


def trimmed(text: str, folder: Path | str | None = None, limit: int = 40) -> str:
    """A tool's words for a person: no colours, no credentials, no temporary paths, at most ``limit`` lines."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = _STAND_IN.sub(r"==\1", text)
    if folder is not None:
        text = text.replace(f"{folder}/", "")
    text = text.replace(f"{tempfile.gettempdir()}/", "")
    lines = [line.rstrip() for line in redact(text).splitlines() if not any(noise in line for noise in _NOISE)]
    unique = list(dict.fromkeys(line for line in lines if line.strip()))
    return "\n".join([*unique[:limit], "…"] if len(unique) > limit else unique)


def ignored(names: Iterable[str]) -> tuple[str, ...]:
    """The warning for those of ``names`` that are set in the environment, where they would choose versions unseen."""
    found = sorted(name for name in names if os.environ.get(name))
    if not found:
        return ()
    return (f"ignored {', '.join(found)}: what chooses versions belongs into the image or on the command line",)


def asked(requirements: Sequence[str], limit: int = 6) -> str:
    """The requirements on one line for a message."""
    shown = ", ".join(f"`{r}`" for r in requirements[:limit])
    return shown + (f" and {len(requirements) - limit} more" if len(requirements) > limit else "")
