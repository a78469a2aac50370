"""What a source distribution with C in it is built with: the compilers and headers of its suite, in no image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..kernel.reporting import Reporter
from ..locks.nouns import LockedDeb, LockedPlatform
from ..recipe import AptInstall, DebianBase, Platform, Recipe
from .bases import BasesFactory, DebianFactory, Systems
from .preferences import instant
from .pypi.sources import Build, Built, ToBuild

__all__ = ["BuildOver", "build_tools", "over"]

Tools = Callable[[], tuple[LockedDeb, ...]]
BuildOver = Callable[[Recipe, LockedPlatform, ToBuild, Tools], Built]
"""Who builds: over what an environment has below its Python packages, with the tools if it does not go without."""


def build_tools(
    recipe: Recipe,
    part: LockedPlatform,
    platform: Platform,
    debian: DebianFactory,
    bases: BasesFactory,
    reporter: Reporter,
) -> tuple[LockedDeb, ...]:
    """build-essential, on our own Debian with its Python's headers (a relocatable one has them), less what ``part``
    has: as of the same state.

    Nothing on a base without packages. Raises what locking Debian packages raises.
    """
    at = instant(part.snapshot) if part.snapshot else None
    asked = [step for step in recipe.steps if isinstance(step, AptInstall)]
    relocatable = part.python
    own = (lambda *_: relocatable) if relocatable is not None else None
    with Systems(debian, bases, reporter, own) as systems:
        if isinstance(recipe.base, DebianBase):
            headers = () if recipe.base.standalone else (f"python{recipe.python}-dev",)
            wanted = AptInstall(("build-essential", *headers))
            found = systems.debian(replace(recipe, steps=(*asked, wanted)), platform, at)
        elif part.base is not None and part.base.facts is not None and part.base.facts.debs:
            wanted = AptInstall(("build-essential",))
            found = systems.added("a build", replace(recipe, steps=(*asked, wanted)), platform, part.base, at)
        else:
            return ()
    there = {deb.name for deb in part.debs}
    return tuple(deb for deb in found.debs if deb.name not in there)


def over(
    build: BuildOver,
    recipes: Mapping[str, Recipe],
    parts: Mapping[tuple[str, str], LockedPlatform],
    asks: tuple[DebianFactory, BasesFactory, Reporter],
) -> Build:
    """``build``, told what lies below the Python packages of the environment that needs a wheel."""

    def make(asked: ToBuild) -> Built:
        recipe, platform = recipes[asked.environment], asked.target.platform
        part = parts[asked.environment, platform]
        return build(recipe, part, asked, lambda: build_tools(recipe, part, platform, *asks))

    return make
