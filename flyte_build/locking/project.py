"""The locks of a project: every environment's recipe → its lock, solved as one universe.

What did not change keeps its pins, and its file its bytes. What changed is solved with all existing pins
preferred, so that nothing else moves. Every lock is complete before the first file is written.

The cut-off is recorded in each lock it was used for (RFC 3339, UTC; a date means the whole of that day).
Given none, an environment that has to be solved anew keeps the cut-off in force, its own or the latest of
the project's, and says so; ``upgrade=True`` is what drops it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..kernel.cutoff import rfc3339
from ..kernel.reporting import Reporter
from ..locks.base import LockedBase
from ..locks.directory import writing
from ..locks.lockfile import Lock, LockedPlatform, write_all
from ..locks.runtimes import runtime_notes
from ..locks.seals import SealRun
from ..recipe import DebianBase, Platform, Recipe, RegistryBase
from ..sources.indexes import IndexSettings, configured
from .bases import (
    ARCHITECTURE,
    BasesFactory,
    DebianFactory,
    PythonFinder,
    Scripts,
    Systems,
    base_pins,
    check_base,
    target,
)
from .cooldowns import Rules, applied, debian_rule, instants, recorded, told
from .hashed_requirements import check_allowed
from .pixi import hold_locks
from .preferences import Existing, kept_pins, read_existing
from .pypi import Resolver, Universe, Wanted, named, solve_universe
from .remarks import disagreements, other_wheels, vanished
from .stages import stages, unsealed
from .tools import BuildOver, over
from .triggers import check_triggers
from .ways import bases_of, debian_of

__all__ = ["LockReport", "lock_project"]


@dataclass(frozen=True, slots=True)
class LockReport:
    """``written`` and ``unchanged`` are environments, ``locks`` all of them, ``notes`` lines for a person; ``before``:
    the locks that were there; ``sealed``: the steps that were run."""

    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    locks: Mapping[str, Lock]
    notes: tuple[str, ...]
    before: Mapping[str, Lock] = field(default_factory=dict)
    sealed: tuple[SealRun, ...] = ()


def lock_project(
    recipes: Mapping[str, Recipe],
    directory: Path,
    *,
    resolver: str | Resolver = "uv",
    cutoff: str | None = None,
    cooldown: str | None = None,
    cooldowns: Sequence[tuple[str, str]] = (),
    upgrade: bool | Sequence[str] = False,
    reporter: Reporter,
    root: Path,
    settings: IndexSettings | None = None,
    debian: DebianFactory | None = None,
    bases: BasesFactory | None = None,
    python: PythonFinder | None = None,
    complete: Callable[[Mapping[str, Recipe], Mapping[str, Lock]], Mapping[str, Lock]] | None = None,
    build: BuildOver | None = None,
    scripts: Scripts | None = None,
    others: Collection[str] = (),
    look: Callable[[Mapping[str, Lock]], None] | None = None,
    solving: Callable[[], object] | None = None,
) -> LockReport:
    """Lock ``recipes`` (by environment) into ``directory``; ``root`` is the project, for local wheels and indexes.

    ``cutoff`` is a date, an RFC 3339 instant or an age; ``cooldown``, the project's own, holds for what has to be
    solved anew where no ``cutoff`` is given; ``cooldowns`` are those of single indexes, by name or address, whatever
    else is given. ``upgrade``: ``True`` chooses everything anew, names these packages wherever they are locked.
    ``look`` is shown the locks that are new before any is written, and may refuse them; then ``complete`` gives the
    seals of their sealed steps. ``build`` makes wheels of sources; ``scripts`` says whether dpkg has to run the scripts
    of packages that were chosen. ``others``: environments of the file that are not asked for now. ``solving`` is called
    before anything is asked of anybody, and not at all where the locks that are there answer. Raises
    :class:`ResolutionError` where there is no solution, :class:`FetchError` where an index or archive cannot be had,
    :class:`RefusedError` for what no resolver honours, :class:`StoreError` for the folder; no file is touched then.
    """
    given = rfc3339(cutoff) if cutoff is not None else None
    cooled = rfc3339(cooldown) if cooldown is not None else None
    plan = _Plan(
        recipes, read_existing(directory, recipes, given, reporter), given, upgrade, cooled, instants(cooldowns)
    )
    if plan.anew or plan.debian_anew or plan.rewritten:
        from .pythons import find_python

        if solving is not None:
            solving()
        hold_locks((recipes[name] for name in plan.anew), root, reporter)
        secrets = [secret for recipe in recipes.values() for secret in recipe.apt_secrets]
        archive = debian or debian_of(root, plan.suites(), secrets)
        ways = archive, bases or bases_of(root), python or find_python(root, reporter), scripts
        locks = _solve(plan, resolver, reporter, root, settings, ways, build)
    else:
        locks = dict(plan.existing.locks)
    locks = {name: unsealed(locks[name]) for name in recipes}
    check_allowed(recipes, locks)
    if look is not None and (new := {n: x for n, x in locks.items() if other_wheels(x, plan.existing.locks.get(n))}):
        look(new)
    if complete is not None:
        locks = dict(complete(recipes, locks))
    for note in runtime_notes(locks):
        reporter.note(note)
    with writing(directory):
        # Read again: what a build pinned while this solved stays.
        locks = {name: replace(lock, pins=kept_pins(directory, lock)) for name, lock in locks.items()}
        written = tuple(write_all(directory, locks.values()))
    unchanged = tuple(name for name in recipes if name not in written)
    hasty = bases or bases_of(root, attempts=1, timeout=10.0)
    notes = (*plan.notes, *_moved(plan, locks, reporter, hasty), *vanished(plan.existing.locks, (*recipes, *others)))
    return LockReport(written, unchanged, locks, (*notes, *disagreements(locks)), plan.existing.locks)


_Ways = tuple[DebianFactory, BasesFactory, PythonFinder, "Scripts | None"]


class _Plan:
    """What has to be solved, before anything is asked."""

    def __init__(
        self,
        recipes: Mapping[str, Recipe],
        existing: Existing,
        cutoff: str | None,
        upgrade: bool | Sequence[str],
        cooldown: str | None = None,
        rules: Rules = (),
    ) -> None:
        self.recipes, self.existing, self.rules = recipes, existing, rules
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
                part = existing.debian(name, recipe, platform)
                base = part.base if part is not None else None
                unread = base is not None and base.facts is None and not recipe.as_is
                if self.everything or (moved and (base is None or recipe.apt_packages)) or part is None or unread:
                    self.debian_anew.append((name, platform))
        self.rewritten = [n for n, r in recipes.items() if n in existing.locks and not existing.locks[n].answers(r)]
        self.cutoff = cutoff
        if cutoff is None and cooldown is not None and (self.anew or self.debian_anew):
            self.cutoff = cooldown
            self.notes.append(f"nothing newer than {cooldown} was taken: `exclude-newer` of pyproject.toml")
        elif cutoff is None and self.anew:
            kept = existing.cutoff(self.anew) or existing.cutoff(existing.locks)
            if kept is not None and self.everything:
                self.notes.append(f"the cut-off {kept} no longer holds: everything was chosen anew without one")
            elif kept is not None:
                self.cutoff = kept
                self.notes.append(
                    f"kept the cut-off {kept}; another is given with --exclude-newer, none with --upgrade"
                )

        if self.anew or self.debian_anew:
            self.notes += told(rules)

    def suites(self) -> list[tuple[str, str]]:
        """Suites and architectures of Debian, of which packages are chosen anew."""
        wanted = ((self.recipes[name].base, platform) for name, platform in self.debian_anew)
        return list(dict.fromkeys((b.suite, ARCHITECTURE[p]) for b, p in wanted if isinstance(b, DebianBase)))

    def debian_cutoff(self, name: str) -> str | None:
        """The instant for new Debian packages: the state that the base is in already, else the cut-off."""
        cutoff = debian_rule(self.rules, self.cutoff)
        if self.everything:
            return cutoff
        return self.existing.debian_state(name, self.recipes[name]) or cutoff


def _solve(
    plan: _Plan,
    resolver: str | Resolver,
    reporter: Reporter,
    root: Path,
    settings: IndexSettings | None,
    ways: _Ways,
    build: BuildOver | None,
) -> dict[str, Lock]:
    chosen = named(resolver) if isinstance(resolver, str) else resolver
    debian, bases, _, _ = ways
    if plan.rules:
        settings, notes = applied(settings or configured(root), plan.rules, plan.recipes.values())
        plan.notes += notes
    parts = _systems(plan, reporter, ways)
    check_triggers(plan.recipes, parts)
    universe = Universe()
    if plan.anew:
        wanted = [
            Wanted(name, recipe, target(recipe, platform, parts[name, platform]))
            for name in plan.anew
            for recipe in (plan.recipes[name],)
            for platform in recipe.platforms
            if recipe.installs or not isinstance(recipe.base, RegistryBase)
        ]
        pins = {} if plan.everything else plan.existing.pins(without=plan.upgraded)
        for name, held in () if plan.everything else base_pins(parts, without=plan.upgraded).items():
            pins[name] = held | pins.get(name, {})
        universe = solve_universe(
            wanted,
            chosen,
            configured(root) if settings is None else settings,
            root=root,
            preferences=pins,
            cutoff=plan.cutoff,
            refresh=plan.everything or plan.upgraded,
            reporter=reporter,
            kept={} if plan.everything else plan.existing.kept(without=plan.upgraded),
            build=over(build, plan.recipes, parts, (debian, bases, reporter)) if build is not None else None,
        )
    return {name: _lock(name, plan, parts, universe, chosen) for name in plan.recipes}


def _lock(
    name: str,
    plan: _Plan,
    parts: Mapping[tuple[str, str], LockedPlatform],
    universe: Universe,
    resolver: Resolver,
) -> Lock:
    recipe, old = plan.recipes[name], plan.existing.locks.get(name)
    platforms: dict[str, LockedPlatform] = {}
    for platform in recipe.platforms:
        if name in plan.anew:
            key = name, platform
            wheels, builds = universe.wheels.get(key, ()), universe.builds.get(key, ())
            tools = universe.tools.get(key, ())
        else:
            assert old is not None
            held = old.platforms[platform]
            wheels, builds, tools = held.wheels, held.builds, held.tools
        part = replace(parts[name, platform], conda=recipe.conda.of(platform) if recipe.conda is not None else ())
        platforms[platform] = replace(part, wheels=wheels, builds=builds, tools=tools)
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
        cutoffs=recorded(plan.rules),
    )


def _systems(plan: _Plan, reporter: Reporter, ways: _Ways) -> dict[tuple[str, str], LockedPlatform]:
    """What lies under the Python packages on every platform of every environment, kept where it can be."""
    out: dict[tuple[str, str], LockedPlatform] = {}
    debian, bases, python, scripts = ways
    with Systems(debian, bases, reporter, python, scripts) as systems:
        for name, recipe in plan.recipes.items():
            for platform in recipe.platforms:
                kept = plan.existing.debian(name, recipe, platform)
                anew = (name, platform) in plan.debian_anew
                if kept is not None and not anew:
                    if kept.base is not None:
                        check_base(name, recipe, kept.base, reporter)
                    out[name, platform] = kept
                elif isinstance(recipe.base, RegistryBase):
                    before = plan.existing.base(name, recipe, platform)
                    base = systems.base(name, recipe, platform, None if plan.everything else before)
                    if before is not None and before.manifest != base.manifest:
                        digests = f"{before.manifest.digest} → {base.manifest.digest}"
                        plan.notes.append(
                            f"{name}: {recipe.base.reference} ({platform}) is another image now: {digests}"
                        )
                    out[name, platform] = systems.added(name, recipe, platform, base, plan.debian_cutoff(name))
                else:
                    out[name, platform] = systems.debian(recipe, platform, plan.debian_cutoff(name))
                made = stages(recipe, platform, systems, plan.existing.locks, anew=plan.everything)
                out[name, platform] = replace(out[name, platform], stages=made)
    return out


def _moved(plan: _Plan, locks: Mapping[str, Lock], reporter: Reporter, bases: BasesFactory) -> list[str]:
    """Names of bases that lead elsewhere now than where these locks stay."""
    kept: dict[tuple[RegistryBase, str], LockedBase] = {}
    for name, recipe in plan.recipes.items():
        for platform in recipe.platforms:
            found = locks[name].platforms[platform].base
            before = plan.existing.base(name, recipe, platform)
            if isinstance(recipe.base, RegistryBase) and found is not None and before is not None:
                kept[recipe.base, found.reference] = found
    if plan.everything or not kept:
        return []
    with Systems(debian_of(Path(), ()), bases, reporter) as systems:
        return [
            f"{base.reference} leads to another image now; `--upgrade` takes it"
            for (base, _), locked in kept.items()
            if systems.moved(base, locked)
        ]
