"""One universe (law 7): all environments of a project are solved together wherever a solution exists.

Environments that ask the same question (same Python, platform and indexes) are one group. A group's
requirements are solved in one go; only where that has no solution are environments added one by one, in the
order of their names, and those that do not fit are solved apart, with the reason. Groups are solved
one after the other, each preferring the versions of those before it, so that platforms and Pythons agree
wherever they can.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ...kernel import tracing
from ...kernel.reporting import Reporter
from ...kernel.scratch import scratch
from ...locks.builds import LockedBuild
from ...locks.nouns import LockedDeb, LockedWheel
from ...sources.indexes import IndexClient, IndexSettings
from ..wheels import Target
from .choice import choose
from .closure import closure
from .held import Projects
from .logins import check_logins
from .question import Answer, NoSolution, Question, Resolver, requirement
from .source_trees import Trees
from .sources import Build, Built, Sources
from .terms import Terms, Wanted, order_of, terms_of

__all__ = ["Universe", "Wanted", "solve_universe"]


@dataclass(slots=True)
class Universe:
    """The wheels by (environment, platform), how some of them were built, and why environments were solved apart."""

    wheels: dict[tuple[str, str], tuple[LockedWheel, ...]] = field(default_factory=dict)
    apart: dict[str, str] = field(default_factory=dict)
    builds: dict[tuple[str, str], tuple[LockedBuild, ...]] = field(default_factory=dict)
    tools: dict[tuple[str, str], tuple[LockedDeb, ...]] = field(default_factory=dict)


def solve_universe(
    wanted: Sequence[Wanted],
    resolver: Resolver,
    settings: IndexSettings,
    *,
    root: Path,
    preferences: Mapping[str, Mapping[str, str]],
    cutoff: str | None,
    refresh: bool | tuple[str, ...],
    reporter: Reporter,
    client: Callable[[IndexSettings], IndexClient] = IndexClient,
    build: Build | None = None,
    kept: Mapping[str, str] | None = None,
) -> Universe:
    """Solve everything ``wanted``; ``preferences`` are pins by environment, kept where they can be.

    What uv says of projects is asked first, and the others are solved around it. ``build`` makes the wheels of packages
    that have none (``None``: they are refused); ``kept`` are the commits of repositories and the SHA-256 of addresses
    that locks have, by the digest of what was asked. Raises :class:`ResolutionError` for
    the first environment that has no solution by itself, and what resolvers and clients raise.
    """
    groups: dict[tuple[Terms, Target], list[Wanted]] = defaultdict(list)
    universe = Universe()
    solved: list[tuple[frozenset[str], dict[str, str]]] = []
    clients: dict[IndexSettings, IndexClient] = {}
    ours: dict[tuple[str, str], Terms] = {}
    trees: dict[tuple[str, str], dict[str, Built]] = {}
    with ExitStack() as opened:
        targets = {w.environment: [o.target for o in wanted if o.environment == w.environment] for w in wanted}
        sources = Sources(build, resolver, cutoff, reporter, targets)
        projects = Projects(root, settings, cutoff, refresh, opened.enter_context(scratch()), reporter, sources)
        located = Trees(root, opened.enter_context(scratch()), sources, kept or {}, reporter)

        def client_of(at: IndexSettings) -> IndexClient:
            if at not in clients:
                clients[at] = client(at)
                opened.callback(clients[at].close)
            return clients[at]

        for one in wanted:
            held = projects.held(one.environment, one.recipe, one.target)
            one = replace(one, held=held, recipe=held.rest(one.recipe))
            if any(step.sources for step in one.recipe.pip_steps):
                at = client_of(terms_of(one, settings, root).settings)
                one, trees[one.environment, one.target.platform] = located.built(one, at)
            groups[terms_of(one, settings, root), one.target].append(one)
        for (terms, target), members in sorted(
            groups.items(), key=lambda g: order_of(g[0][0], g[0][1], g[1], settings)
        ):
            preferred = _preferred([w.environment for w in members], preferences, solved)
            at = client_of(terms.settings)
            check_logins(terms.settings, settings, (s for w in members for s in w.recipe.pip_steps), client_of)
            group = _Group(members, terms, target, resolver, preferred, cutoff, refresh, reporter, sources, at)
            parts = group.partition()
            first = ours.setdefault((target.python, target.platform), terms)
            for environment in group.members if terms != first else ():
                universe.apart.setdefault(environment, terms.differ(settings))
            for environment, reason in group.reasons(parts).items():
                universe.apart.setdefault(environment, reason)
            for names, answer in parts:
                for warning in answer.warnings:
                    reporter.warn(warning)
                held = group.members[names[0]].held
                local = (*terms.wheels, *(one.path for one in group.built.values()))
                allowed = _allowed([group.members[name] for name in names])
                chosen = choose(held.without(answer), target, at, local, reporter, allowed)
                there = chosen.distributions | held.distributions()
                for name in names:
                    one = group.members[name]
                    steps = closure(_steps(one, terms), there, target, f"environment {name}")
                    wheels = [chosen.locked(p, step) for p, step in steps.items() if p not in held.brought]
                    universe.wheels[name, target.platform] = tuple(
                        sorted((*wheels, *one.held.locked()), key=lambda w: w.name)
                    )
                    every = group.built | trees.get((name, target.platform), {})
                    mine = {p: built for p, built in every.items() if p in steps} | {**one.held.builds}
                    made = [built for _, built in sorted(mine.items())]
                    universe.builds[name, target.platform] = tuple(b.record for b in made if b.record is not None)
                    tools = {tool.name: tool for built in made for tool in built.tools}
                    universe.tools[name, target.platform] = tuple(tools.values())
                solved.append(
                    (frozenset(names), {pin.name: pin.version for pin in answer.pins.values() if pin.version})
                )
    return universe


def _allowed(members: Sequence[Wanted]) -> dict[str, frozenset[str]]:
    """The SHA-256 that all of ``members`` that list any for a distribution have in common, by name."""
    out: dict[str, frozenset[str]] = {}
    for one in members:
        for name, hashes in (row for step in one.recipe.pip_steps for row in step.hashes):
            out[name] = out.get(name, frozenset(hashes)) & frozenset(hashes)
    return out


def _steps(one: Wanted, terms: Terms) -> list[tuple[str, ...]]:
    """The requirements by step, local wheels by their name."""
    steps = [one.recipe.runtime_requirements]
    for step in one.recipe.pip_steps:
        local = [Path(w).name.split("-")[0] for w in step.wheels]
        steps.append((*step.requirements, *local))
    return steps


def _preferred(
    names: Sequence[str],
    locked: Mapping[str, Mapping[str, str]],
    solved: Sequence[tuple[frozenset[str], Mapping[str, str]]],
) -> dict[str, str]:
    """The nearest version of each package: of the same environment on another platform, of its own lock,
    of the other environments solved now, of the other locks."""
    ours = [pins for environments, pins in solved if environments & set(names)]
    theirs = [pins for environments, pins in solved if not environments & set(names)]
    own = [locked[name] for name in sorted(names) if name in locked]
    others = [locked[name] for name in sorted(locked) if name not in names]
    out: dict[str, str] = {}
    for pins in (*ours, *own, *theirs, *others):
        for name, version in pins.items():
            out.setdefault(name, version)
    return out


class _Group:
    """Environments that ask the same question."""

    def __init__(
        self,
        members: Sequence[Wanted],
        terms: Terms,
        target: Target,
        resolver: Resolver,
        preferences: Mapping[str, str],
        cutoff: str | None,
        refresh: bool | tuple[str, ...],
        reporter: Reporter,
        sources: Sources,
        client: IndexClient,
    ) -> None:
        self.built: dict[str, Built] = {}
        self._sources, self._client = sources, client
        self.members = {w.environment: w for w in members}
        self._terms, self._target, self._resolver = terms, target, resolver
        self._preferences, self._cutoff, self._refresh = preferences, cutoff, refresh
        self._reporter = reporter
        self._known: dict[frozenset[str], Answer | NoSolution] = {}

    def partition(self) -> list[tuple[tuple[str, ...], Answer]]:
        """The environments that are solved together, with the answer for each part; the universe first."""
        parts, left = [], sorted(self.members)
        while left:
            taken, answer, left = self._fill(left)
            parts.append((tuple(taken), answer))
        return parts

    def _fill(self, names: list[str]) -> tuple[list[str], Answer, list[str]]:
        """As many of ``names`` as have a solution together, in their order, and those that are left.

        A set that has a solution keeps it when an environment is taken away, so that the first one that does not
        fit is found by halving.
        """
        taken, left, rejected = names[:1], names[1:], []
        if left and isinstance(self._attempt(names), Answer):
            taken, left = names, []
        answer = self._attempt(taken)
        if isinstance(answer, NoSolution):
            raise self._named(answer, taken[0])
        while left:
            fits, limit = 0, len(left)
            probe = limit
            while fits < limit:
                attempt = self._attempt([*taken, *left[:probe]])
                if isinstance(attempt, NoSolution):
                    limit = probe - 1
                else:
                    fits, answer = probe, attempt
                probe = (fits + limit + 1) // 2
            taken = [*taken, *left[:fits]]
            rejected += left[fits : fits + 1]
            left = left[fits + 1 :]
        return taken, answer, rejected

    def reasons(self, parts: Sequence[tuple[tuple[str, ...], Answer]]) -> dict[str, str]:
        """Why each environment outside the first part is there, in one line without locations."""
        universe = parts[0][0]
        out = {}
        for names, _ in parts[1:]:
            for name in names:
                clashes = (other for other in universe if isinstance(self._attempt([other, name]), NoSolution))
                clash = next(clashes, None)
                out[name] = self._reason(name, clash) if clash else f"no solution with {', '.join(universe)} together"
        return out

    def _reason(self, name: str, other: str) -> str:
        here, there = self._specified(name), self._specified(other)
        for package in sorted(here.keys() & there.keys()):
            if here[package] != there[package]:
                return f"no solution with {other}: {here[package]} here, {there[package]} there"
        return f"no solution with {other}"

    def _specified(self, name: str) -> dict[str, str]:
        """The direct requirements of an environment that restrict the version."""
        out: dict[str, list[str]] = defaultdict(list)
        for text in (*self._requirements(name), *self._constraints(name)):
            parsed = Requirement(text)
            if parsed.specifier:
                out[canonicalize_name(parsed.name)].append(f"{canonicalize_name(parsed.name)}{parsed.specifier}")
        return {package: " ".join(sorted(set(texts))) for package, texts in out.items()}

    def _requirements(self, name: str) -> tuple[str, ...]:
        recipe = self.members[name].recipe
        return (*recipe.runtime_requirements, *(r for step in recipe.pip_steps for r in step.requirements))

    def _constraints(self, name: str) -> tuple[str, ...]:
        return tuple(c for step in self.members[name].recipe.pip_steps for c in step.constraints)

    def _attempt(self, names: Sequence[str]) -> Answer | NoSolution:
        key = frozenset(names)
        if key not in self._known:
            requirements, constraints = [], []
            for name in sorted(names):
                where = f"environment {name}"
                requirements += [str(requirement(r, where)) for r in self._requirements(name)]
                constraints += [str(requirement(c, where)) for c in self._constraints(name)]
            question = Question(
                target=self._target,
                requirements=tuple(dict.fromkeys(requirements)),
                constraints=tuple(dict.fromkeys(constraints)),
                settings=self._terms.settings,
                pre=self._terms.pre,
                wheels=(*self._terms.wheels, *(one.path for one in self.built.values())),
                stand_ins=self._terms.held,
                preferences=self._preferences,
                cutoff=self._cutoff,
                refresh=self._refresh,
            )
            if not requirements and not self._terms.wheels:
                self._known[key] = Answer({})
            else:
                title = f"resolving {_called(names)} for {self._target}"
                with self._reporter.work(title):
                    try:
                        with tracing.timed("solver", f"{self._resolver.name}: {len(question.lines)} requirements"):
                            self._known[key] = self._resolver.resolve(question)
                    except NoSolution as e:
                        self._known[key] = e
                answer = self._known[key]
                if isinstance(answer, NoSolution) and self._more(answer, [*requirements, *constraints], min(names)):
                    del self._known[key]
                    return self._attempt(names)
        return self._known[key]

    def _more(self, error: NoSolution, texts: Sequence[str], environment: str) -> bool:
        """Whether wheels were built for want of which there was no solution."""
        found = self._sources.wheels(error, texts, self._target, environment, self._client)
        new = found.keys() - self.built.keys()
        self.built |= found
        return bool(new)

    def _named(self, error: NoSolution, name: str) -> NoSolution:
        return NoSolution(f"environment {name}: {error.message}", hint=error.hint, detail=error.detail)


def _called(names: Iterable[str]) -> str:
    """For a progress bar: all names where they are few."""
    ordered = sorted(names)
    return ", ".join(ordered) if len(ordered) <= 3 else f"{len(ordered)} environments"
