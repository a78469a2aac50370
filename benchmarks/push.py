"""(f) Images into a registry: cold, nothing changed, one package changed, and a fresh machine beside a warm cache.

The registry is docker-registry on the loopback, new and empty each round. The peer is ``skopeo copy`` of the same
images from the OCI layout that they are built into. It reads no user's file, checks no call and tells nothing about
what it pushes; so ours is measured twice: as the command that a user types, and from the locks alone, which is as much
as skopeo does.

Before the rounds everything is done once through a line that counts, which is where requests and bytes are from.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flyte_build.store import Store

from .context import NO_PEERS, Context
from .measure import Sample, Series, command
from .registry import PROGRAM, Place, started
from .report import Case, Ratio
from .subjects import Example, Subject, Synthetic

__all__ = ["cases"]

OURS, ALONE, MADE = "flyte-build push", "flyte-build, from the locks alone", "flyte-build push, assembling, too"
PEER = "skopeo copy"
WARM, EMPTY = "warm cache", "warm cache, other repositories"
FETCHING, ASSEMBLING = "no cache", "no cache, artifacts at hand"

COLD, SAME, CHANGED, FRESH = "cold", "nothing changed", "one package changed", "a fresh machine"


def cases(context: Context) -> Iterator[Case]:
    """The example's three images, for one platform; with ``--quick`` one of synthetic wheels."""
    missing = [p for p in (PROGRAM, "skopeo") if shutil.which(p) is None]
    if PROGRAM in missing and not context.quick:
        yield Case("push", [], skipped=f"not measured: no `{PROGRAM}` on PATH")
        return
    reason = None if context.peers else NO_PEERS
    if reason is None and missing:
        reason = f"peer not measured: no `{missing[0]}` on PATH"
    subject: Subject = Synthetic(context) if context.quick else Example(context)
    subject.prepare()
    work = _Push(context, subject, peer=reason is None)
    work.round(counting=True)
    # What is only tried out is not done twice.
    for number in range(0 if context.quick else context.rounds):
        work.round(reverse=number % 2 == 1)
    for title, found in work.series.items():
        case = Case(f"{subject.name}: {title}", list(found.values()), list(_ratios(title, found)), work.facts[title])
        case.skipped = reason if title != FRESH else None
        yield case


def _ratios(title: str, found: dict[str, Series]) -> Iterator[Ratio]:
    """The peer against both of ours; on a fresh machine, doing without the cache against having it."""
    if title == FRESH:
        for label in (ASSEMBLING, FETCHING):
            yield Ratio(f"wall: {label} / {WARM}", found[label].wall / found[WARM].wall)
    elif PEER in found:
        for label in (OURS, ALONE):
            if label in found:
                yield Ratio(f"wall: {PEER} / {label}", found[PEER].wall / found[label].wall)
                yield Ratio(f"processor: {PEER} / {label}", found[PEER].cpu / found[label].cpu)


@dataclass
class _Push:
    """``series`` and ``facts`` by the title of a case, then by label."""

    context: Context
    subject: Subject
    peer: bool
    series: dict[str, dict[str, Series]] = field(default_factory=dict)
    facts: dict[str, dict[str, object]] = field(default_factory=dict)

    def round(self, *, counting: bool = False, reverse: bool = False) -> None:
        """Every side once, in an empty registry each; what a side does in it is in the order of its user's days."""
        sides: list[Callable[[_Registry], None]] = [self._ours]
        if not self.context.quick:
            sides.append(self._alone)
        if self.peer:
            sides.append(self._theirs)
        sides += [self._assembling, self._fresh]
        for side in sides[::-1] if reverse else sides:
            with started(self.context.fresh("registry"), real=self.peer or not self.context.quick) as place:
                side(_Registry(self, place, counting))

    def _ours(self, to: _Registry) -> None:
        subject, team = self.subject, f"{to.host}/team"
        to.add(COLD, OURS, lambda: subject.push(subject.built, team))
        to.add(SAME, OURS, lambda: subject.push(subject.built, team))
        to.add(CHANGED, OURS, lambda: subject.push(subject.changed, team, changed=True))

    def _alone(self, to: _Registry) -> None:
        subject, team = self.subject, f"{to.host}/team"
        to.add(COLD, ALONE, lambda: subject.push_locks(subject.built, team))
        to.add(SAME, ALONE, lambda: subject.push_locks(subject.built, team))
        to.add(CHANGED, ALONE, lambda: subject.push_locks(subject.changed, team, changed=True))

    def _theirs(self, to: _Registry) -> None:
        def copy(layout: Path) -> Callable[[], Sample]:
            lines = [
                f"skopeo copy -q --dest-tls-verify=false {shlex.quote(f'oci:{layout}:{name}')} "
                f"docker://{to.host}/team/{environment}:now"
                for environment, name in self.subject.images.items()
            ]
            return lambda: command(("sh", "-ec", "\n".join(lines)))

        to.add(COLD, PEER, copy(self.subject.layout))
        to.add(SAME, PEER, copy(self.subject.layout))
        to.add(CHANGED, PEER, copy(self.subject.changed_layout))

    def _assembling(self, to: _Registry) -> None:
        subject, store = self.subject, self.context.cold(self.subject.built)
        subject.push(store, f"{to.host}/team")
        to.add(CHANGED, MADE, lambda: subject.push(store, f"{to.host}/team", changed=True))
        shutil.rmtree(store)

    def _fresh(self, to: _Registry) -> None:
        """Machines that have nothing, or only artifacts; the registry has the images, as another made them."""
        subject, context, team = self.subject, self.context, f"{to.host}/team"
        cache = f"{team}/cache"
        subject.push(subject.built, team, cache=cache)

        fetched: dict[str, object] = {}

        def machine(label: str, registry: str, *, cached: bool, artifacts: bool = False) -> None:
            def run() -> Sample:
                store = context.cold(subject.built, only_artifacts=True) if artifacts else context.fresh("empty")
                before = _artifacts(store)
                sample = subject.push(store, registry, cache=cache if cached else None)
                sizes = [size for name, size in _artifacts(store).items() if name not in before]
                fetched[f"{label}: artifacts fetched"] = f"{len(sizes)}, {sum(sizes) / 1e6:.1f} MB"
                shutil.rmtree(store)
                return sample

            to.add(FRESH, label, run)

        machine(WARM, team, cached=True)
        machine(EMPTY, f"{to.host}/others", cached=True)
        machine(ASSEMBLING, team, cached=False, artifacts=True)
        machine(FETCHING, team, cached=False)
        self.facts[FRESH] |= fetched


def _artifacts(store: Path) -> dict[str, int]:
    """Wheels and .debs in a store: SHA-256 → bytes."""
    folder = Store(store).artifacts
    return {path.name: path.stat().st_size for path in folder.iterdir()} if folder.exists() else {}


@dataclass(frozen=True)
class _Registry:
    """One side's registry, for one round: the round that counts keeps no times, unless there is no other."""

    work: _Push
    place: Place
    counting: bool

    @property
    def host(self) -> str:
        return self.place.counting if self.counting else self.place.host

    def add(self, title: str, label: str, side: Callable[[], Sample]) -> None:
        work = self.work
        if self.counting:
            with self.place.counted() as traffic:
                sample = side()
            work.facts.setdefault(title, {})[label] = str(traffic[0])
            work.series.setdefault(title, {})[label] = Series(label, [sample] if work.context.quick else [])
        else:
            work.series[title][label].samples.append(side())
