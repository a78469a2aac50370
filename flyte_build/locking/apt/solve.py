"""The closure of packages under their dependencies: complete, deterministic, and in words when there is none. Pure.

Like apt, the solver takes the highest version and the first alternative that can be had; unlike apt it goes
back when that leads nowhere. What is chosen satisfies every Pre-Depends and Depends of everything chosen and
breaks no Conflicts or Breaks (Debian policy, chapter 7); nothing is chosen that no dependency led to.
Recommendations are not followed: an image holds what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...kernel.errors import ResolutionError
from .explain import Refusal, conflict, explain
from .omissions import OMISSIONS, Omission
from .package import Clause, Package, Relation
from .universe import Universe

__all__ = ["Omitted", "Solution", "solve"]

_PATIENCE = 20_000


@dataclass(frozen=True, slots=True)
class Omitted:
    """A package that was cut, why, and for whom it was named (sorted)."""

    name: str
    reason: str
    named_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Solution:
    """``chosen`` in the order in which it was found, without what was given."""

    chosen: tuple[Package, ...]
    omitted: tuple[Omitted, ...]


def solve(
    universe: Universe,
    wanted: Sequence[Relation],
    *,
    given: Sequence[Package] = (),
    omissions: Mapping[str, Omission] = OMISSIONS,
) -> Solution:
    """The packages to add to ``given`` so that ``wanted`` and all dependencies hold.

    ``given`` must be closed itself and is never changed. Raises :class:`ResolutionError` that says who needs
    what, and what there is instead.
    """
    search = _Search(universe, wanted, given, omissions)
    search.run()
    named: dict[str, set[str]] = {}
    for name, requirer in search.cut:
        named.setdefault(name, set()).add(requirer)
    present = search.chosen.keys()
    omitted = [
        Omitted(n, omissions[n].reason, tuple(sorted(by))) for n, by in sorted(named.items()) if n not in present
    ]
    return Solution(tuple(search.chosen.values())[len(given) :], tuple(omitted))


@dataclass(frozen=True, slots=True)
class _Need:
    """A clause, and the package whose dependency it is (``None``: the user's)."""

    clause: Clause
    requirer: Package | None


@dataclass(slots=True)
class _Fork:
    """A choice that can be made otherwise: what is left to try, and how far the search had come."""

    rest: Iterator[Package | str]
    at: int
    needs: int
    chosen: int
    cut: int


@dataclass
class _Search:
    universe: Universe
    wanted: Sequence[Relation]
    given: Sequence[Package]
    omissions: Mapping[str, Omission]
    chosen: dict[str, Package] = field(default_factory=dict)
    cut: list[tuple[str, str]] = field(default_factory=list)
    needs: list[_Need] = field(default_factory=list)
    reasons: dict[str, Package | None] = field(default_factory=dict)
    # The chosen packages by every name they answer to, and by every name they stand against.
    named: dict[str, list[Package]] = field(default_factory=dict)
    opposed: dict[str, list[Package]] = field(default_factory=dict)

    def run(self) -> None:
        for package in self.given:
            self._add(package)
        self.needs = [_Need((relation,), None) for relation in self.wanted]
        forks: list[_Fork] = []
        first: ResolutionError | None = None
        at, patience = 0, _PATIENCE
        while at < len(self.needs):
            need = self.needs[at]
            if self._holds(need):
                at += 1
                continue
            fork = _Fork(self._options(need), at, len(self.needs), len(self.chosen), len(self.cut))
            while not self._take(fork):
                if first is None:
                    # The first dead end is on the way the user would have gone: the best explanation.
                    first = self._explanation(need)
                patience -= 1
                if not forks or not patience:
                    raise first if patience else _gave_up(first)
                fork = forks.pop()
                self._back(fork)
            forks.append(fork)
            at = fork.at + 1

    def _holds(self, need: _Need) -> bool:
        return any(r.matched_by(p) for r in need.clause for p in self.named.get(r.name, ()))

    def _options(self, need: _Need) -> Iterator[Package | str]:
        """Packages to add, or names to cut, in order of preference."""
        requirer = need.requirer.name if need.requirer else None
        for relation in need.clause:
            for package in self._candidates(relation):
                omission = self.omissions.get(package.name)
                if omission is not None and omission.applies(requirer):
                    yield package.name
                elif package.name not in self.chosen and conflict(package, self._neighbours(package)) is None:
                    yield package

    def _candidates(self, relation: Relation) -> Iterator[Package]:
        yield from (p for p in self.universe.versions(relation.name) if relation.matched_by(p))
        others = (p for p in self.universe.providers(relation.name) if p.name != relation.name)
        yield from (p for p in others if relation.matched_by(p))

    def _neighbours(self, package: Package) -> list[Package]:
        """The chosen packages that ``package`` names as its adversaries, or that name it so."""
        near = [p for relation in package.against for p in self.named.get(relation.name, ())]
        return near + [p for name in _names(package) for p in self.opposed.get(name, ())]

    def _take(self, fork: _Fork) -> bool:
        option = next(fork.rest, None)
        if option is None:
            return False
        need = self.needs[fork.at]
        if isinstance(option, str):
            self.cut.append((option, need.requirer.name if need.requirer else ""))
        else:
            self._add(option)
            self.reasons[option.name] = need.requirer
            self.needs.extend(_Need(clause, option) for clause in option.depends)
        return True

    def _add(self, package: Package) -> None:
        self.chosen[package.name] = package
        for name in _names(package):
            self.named.setdefault(name, []).append(package)
        for name in dict.fromkeys(r.name for r in package.against):
            self.opposed.setdefault(name, []).append(package)

    def _back(self, fork: _Fork) -> None:
        del self.needs[fork.needs :]
        del self.cut[fork.cut :]
        while len(self.chosen) > fork.chosen:
            _, package = self.chosen.popitem()
            for name in _names(package):
                self.named[name].pop()
            for name in dict.fromkeys(r.name for r in package.against):
                self.opposed[name].pop()

    def _explanation(self, need: _Need) -> ResolutionError:
        refusals: list[Refusal] = []
        for relation in need.clause:
            for package in self._candidates(relation):
                against = conflict(package, self._neighbours(package))
                refusals.append(Refusal(package, self.chosen.get(package.name), against))
        return explain(self.universe, need.clause, need.requirer, self._path(need.requirer), refusals)

    def _path(self, package: Package | None) -> list[Package]:
        """``package``, who needed it, who needed that, … up to what was asked for."""
        path: list[Package] = []
        while package is not None and package not in path:
            path.append(package)
            package = self.reasons.get(package.name)
        return path


def _names(package: Package) -> dict[str, None]:
    return dict.fromkeys((package.name, *(p.name for p in package.provides)))


def _gave_up(first: ResolutionError) -> ResolutionError:
    return ResolutionError(
        f"{first.message} (and {_PATIENCE} other ways led nowhere)", hint=first.hint, detail=first.detail
    )
