"""What is wanted of a universe, and what must be equal for environments to be solved together. Reads the disk only to
see that local wheels are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import Version

from ...kernel.errors import LoadError
from ...recipe import Recipe
from ...sources.indexes import IndexSettings
from ...sources.lent import settings_of
from ..wheels import Target, fitting
from .held import Held

__all__ = ["Terms", "Wanted", "order_of", "terms_of"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One environment's recipe on one target."""

    environment: str
    recipe: Recipe
    target: Target
    held: Held = field(default_factory=Held)


@dataclass(frozen=True, slots=True)
class Terms:
    """What must be equal for environments to be solved together, besides the target."""

    settings: IndexSettings
    pre: bool
    wheels: tuple[Path, ...]
    held: tuple[Path, ...] = ()

    def differ(self, settings: IndexSettings) -> str:
        """Why environments with these terms are solved apart from those without any."""
        why = ["asks indexes of its own"] if self.settings != settings else []
        why += ["takes pre-releases"] if self.pre else []
        why += ["installs local wheels"] if self.wheels else []
        why += ["installs what uv says of its project"] if self.held else []
        return " and ".join(why) or "asks no index of its own, as others do"


def order_of(
    terms: Terms, target: Target, members: Sequence[Wanted], settings: IndexSettings
) -> tuple[bool, Version, str, str]:
    ordinary = terms.settings == settings and not terms.pre and not terms.wheels and not terms.held
    return (not ordinary, Version(target.python_full), target.platform, min(w.environment for w in members))


def terms_of(one: Wanted, settings: IndexSettings, root: Path) -> Terms:
    steps = one.recipe.pip_steps
    bare = bool(one.recipe.runtime_requirements) or any(s.index is None and s.requirements for s in steps)
    wheels = tuple(root / wheel for step in steps for wheel in step.wheels)
    for wheel in wheels:
        if not wheel.is_file():
            raise LoadError(f"environment {one.environment}: {wheel}: no such wheel")
    return Terms(
        settings_of(settings, steps, root, keep_default=bare),
        any(s.pre for s in steps),
        fitting(wheels, one.target),
        one.held.stand_ins,
    )
