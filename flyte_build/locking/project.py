"""The locks of a project: every environment's recipe → its lock, solved as one universe.

What did not change keeps its pins, and its file its bytes. What changed is solved with all existing pins
preferred, so that nothing else moves. Every lock is complete before the first file is written.

The cut-off is recorded in each lock it was used for (RFC 3339, UTC; a date means the whole of that day).
Given none, an environment that has to be solved anew keeps the cut-off in force, its own or the latest of
the project's, and says so; ``upgrade=True`` is what drops it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ..indexes import IndexSettings, configured
from ..recipe import Platform, Recipe
from ..reporting import Reporter
from .allowed import check_allowed
from .apt import Debian, DebianResolution
from .apt.state import parse_cutoff
from .existing import Existing, kept_pins, read_existing
from .guard import writing
from .lockfile import Lock, LockedDeb, LockedPlatform, LockedWheel, write_all
from .pypi import Resolver, Universe, Wanted, named, solve_universe
from .wheels import Target, glibc_of

__all__ = ["LockReport", "lock_project"]

_ARCHITECTURE: dict[Platform, str] = {"linux/amd64": "amd64", "linux/arm64": "arm64"}


class DebianLocker(Protocol):
    """What locks the Debian part: :class:`flyte_build.locking.apt.Debian`, or a test's stand-in."""

    def lock(self, suite: str, architecture: str, python: str, packages: Sequence[str]) -> DebianResolution: ...


DebianFactory = Callable[[str | None, Reporter], AbstractContextManager[DebianLocker]]


@dataclass(frozen=True, slots=True)
class LockReport:
    """``written`` and ``unchanged`` are environments, ``locks`` all of them, ``notes`` lines for a person."""

    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    locks: Mapping[str, Lock]
    notes: tuple[str, ...]


def lock_project(
    recipes: Mapping[str, Recipe],
    directory: Path,
    *,
    resolver: str | Resolver = "uv",
    cutoff: str | None = None,
    upgrade: bool | Sequence[str] = False,
    reporter: Reporter,
    root: Path,
    settings: IndexSettings | None = None,
    debian: DebianFactory | None = None,
) -> LockReport:
    """Lock ``recipes`` (by environment) into ``directory``; ``root`` is the project, for local wheels and indexes.

    ``cutoff`` is a date or an RFC 3339 instant. ``upgrade``: ``True`` chooses everything anew, names choose
    these packages anew wherever they are locked. Raises :class:`ResolutionError` where there is no solution,
    :class:`FetchError` where an index or archive cannot be had, :class:`RefusedError` for what a resolver
    cannot honour, :class:`StoreError` where the folder cannot be written; then no file was touched.
    """
    given = f"{parse_cutoff(cutoff):%Y-%m-%dT%H:%M:%SZ}" if cutoff is not None else None
    plan = _Plan(recipes, read_existing(directory, recipes, given, reporter), given, upgrade)
    if plan.anew or plan.debian_anew or plan.rewritten:
        locks = _solve(plan, resolver, reporter, root, settings, debian or _debian)
    else:
        locks = dict(plan.existing.locks)
    locks = {name: locks[name] for name in recipes}
    check_allowed(recipes, locks)
    with writing(directory):
        # Read again: what a build pinned while this solved stays.
        locks = {name: replace(lock, pins=kept_pins(directory, lock)) for name, lock in locks.items()}
        written = tuple(write_all(directory, locks.values()))
    unchanged = tuple(name for name in recipes if name not in written)
    return LockReport(written, unchanged, locks, (*plan.notes, *_vanished(plan), *_disagreements(locks)))


def _debian(cutoff: str | None, reporter: Reporter) -> AbstractContextManager[DebianLocker]:
    return Debian(cutoff=cutoff, reporter=reporter)


class _Plan:
    """What has to be solved, before anything is asked."""

    def __init__(
        self, recipes: Mapping[str, Recipe], existing: Existing, cutoff: str | None, upgrade: bool | Sequence[str]
    ) -> None:
        self.recipes, self.existing = recipes, existing
        self.notes: list[str] = []
        self.everything = upgrade is True
        self.upgraded = () if isinstance(upgrade, bool) else tuple(upgrade)
        touched = {name for package in self.upgraded for name in existing.holding(package)}
        self.notes += [f"no lock holds `{p}`: nothing to upgrade" for p in self.upgraded if not existing.holding(p)]
        self.anew: list[str] = []
        self.debian_anew: list[tuple[str, Platform]] = []
        for name, recipe in recipes.items():
            lock = existing.locks.get(name)
            moved = lock is not None and cutoff is not None and lock.cutoff != cutoff
            if self.everything or moved or name in touched or not existing.keeps_wheels(name, recipe):
                self.anew.append(name)
            for platform in recipe.platforms:
                if self.everything or moved or existing.debian(name, recipe, platform) is None:
                    self.debian_anew.append((name, platform))
        self.rewritten = [n for n, r in recipes.items() if n in existing.locks and not existing.locks[n].answers(r)]
        self.cutoff = cutoff
        if cutoff is None and self.anew:
            kept = existing.cutoff(self.anew) or existing.cutoff(existing.locks)
            if kept is not None and self.everything:
                self.notes.append(f"the cut-off {kept} no longer holds: everything was chosen anew without one")
            elif kept is not None:
                self.cutoff = kept
                self.notes.append(
                    f"kept the cut-off {kept}; another is given with --exclude-newer, none with --upgrade"
                )

    def debian_cutoff(self, name: str) -> str | None:
        """The instant for new Debian packages: the state that the base is in already, else the cut-off."""
        if self.everything:
            return self.cutoff
        return self.existing.debian_state(name, self.recipes[name]) or self.cutoff


def _solve(
    plan: _Plan,
    resolver: str | Resolver,
    reporter: Reporter,
    root: Path,
    settings: IndexSettings | None,
    debian: DebianFactory,
) -> dict[str, Lock]:
    chosen = named(resolver) if isinstance(resolver, str) else resolver
    bases = _debian_parts(plan, reporter, debian)
    universe = Universe()
    if plan.anew:
        wanted = [
            Wanted(name, plan.recipes[name], _target(plan.recipes[name], platform, bases[name, platform].debs))
            for name in plan.anew
            for platform in plan.recipes[name].platforms
        ]
        universe = solve_universe(
            wanted,
            chosen,
            configured(root) if settings is None else settings,
            root=root,
            preferences={} if plan.everything else plan.existing.pins(without=plan.upgraded),
            cutoff=plan.cutoff,
            refresh=plan.everything or plan.upgraded,
            reporter=reporter,
        )
    return {name: _lock(name, plan, bases, universe, chosen) for name in plan.recipes}


def _lock(
    name: str,
    plan: _Plan,
    bases: Mapping[tuple[str, str], LockedPlatform],
    universe: Universe,
    resolver: Resolver,
) -> Lock:
    recipe, old = plan.recipes[name], plan.existing.locks.get(name)
    platforms: dict[str, LockedPlatform] = {}
    for platform in recipe.platforms:
        wheels: tuple[LockedWheel, ...]
        if name in plan.anew:
            wheels = universe.wheels[name, platform]
        else:
            assert old is not None
            wheels = old.platforms[platform].wheels
        platforms[platform] = replace(bases[name, platform], wheels=wheels)
    if name not in plan.anew and old is not None:
        return replace(old, recipe=recipe.to_json(), platforms=platforms)
    return Lock(
        environment=name,
        recipe=recipe.to_json(),
        resolver=resolver.name,
        resolver_version=resolver.version,
        cutoff=plan.cutoff,
        platforms=platforms,
        apart=universe.apart.get(name),
    )


def _debian_parts(plan: _Plan, reporter: Reporter, debian: DebianFactory) -> dict[tuple[str, str], LockedPlatform]:
    """The Debian part of every platform of every environment, kept where it can be."""
    out: dict[tuple[str, str], LockedPlatform] = {}
    with ExitStack() as stack:
        lockers: dict[str | None, DebianLocker] = {}
        solved: dict[tuple[str | None, str, str, str, tuple[str, ...]], DebianResolution] = {}
        said: set[str] = set()
        for name, recipe in plan.recipes.items():
            for platform in recipe.platforms:
                kept = plan.existing.debian(name, recipe, platform)
                if kept is not None and (name, platform) not in plan.debian_anew:
                    out[name, platform] = kept
                    continue
                at = plan.debian_cutoff(name)
                key = (at, recipe.base.suite, _ARCHITECTURE[platform], recipe.python, recipe.apt_packages)
                if key not in solved:
                    if at not in lockers:
                        lockers[at] = stack.enter_context(debian(at, reporter))
                    solved[key] = lockers[at].lock(*key[1:])
                    for note in solved[key].notes:
                        if note not in said:
                            reporter.note(note)
                        said.add(note)
                found = solved[key]
                out[name, platform] = LockedPlatform(found.suite, found.snapshot, found.debs, ())
    return out


def _target(recipe: Recipe, platform: Platform, debs: Sequence[LockedDeb]) -> Target:
    """The image's Python and C library as its own Debian packages have them."""
    versions = {deb.name: deb.version for deb in debs}
    full = f"{recipe.python}.0"
    for name in (f"python{recipe.python}-minimal", f"python{recipe.python}", f"libpython{recipe.python}-minimal"):
        m = re.match(r"(?:\d+:)?(\d+\.\d+\.\d+)(?:~((?:a|b|rc)\d+))?", versions.get(name, ""))
        if m:
            full = m[1] + (m[2] or "")
            break
    return Target(platform, recipe.python, full, glibc_of(recipe.base.suite, versions.get("libc6")))


def _vanished(plan: _Plan) -> list[str]:
    gone = sorted(set(plan.existing.locks) - set(plan.recipes))
    return [f"{name}.json answers no environment of this file; delete it if the environment is gone" for name in gone]


def _disagreements(locks: Mapping[str, Lock]) -> list[str]:
    """Packages that environments solved at different times hold in different versions, though none is apart."""
    held: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for name, lock in locks.items():
        for platform, locked in lock.platforms.items():
            for wheel in locked.wheels if lock.apart is None else ():
                versions = held.setdefault((wheel.name, lock.python, platform), {})
                versions.setdefault(wheel.version, []).append(name)
    notes = []
    for (package, _, _), versions in sorted(held.items()):
        if len(versions) > 1:
            shown = ", ".join(f"{v} in {' and '.join(sorted(names))}" for v, names in sorted(versions.items()))
            notes.append(f"{package}: {shown}; `--upgrade-package {package}` solves them together")
    return list(dict.fromkeys(notes))
