"""(b) Whole images, against buildah with ``uv pip install``: cold, one package changed, nothing changed.

Both sides start from local wheels and a base that is there, and end with a compressed OCI layout whose digests are
known. Ours is one process, interpreter and imports included, and leaves its store synced to the disk.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from .context import CLI, Context
from .measure import Sample, Series, command
from .peer import BASE, Peer
from .report import Case, Ratio
from .sets import EXAMPLE, ROOT, WheelSet, layout_of

__all__ = ["cases"]

# By the wall. Where most of an image does not change, the ratio says how much that is: one set has goals of those, and
# `large` cold is reading, hashing and writing half a gigabyte on either side.
GOALS = {
    ("pytest", "cold"): 8,
    ("science", "cold"): 9,
    ("science", "a small wheel changed"): 45,
    ("science", "a large wheel changed"): 20,
}
EXAMPLE_COLD = 8
OURS, PEER = "flyte-build", "buildah + uv"
WARM, LOOSE = "buildah + uv's warm cache", "the same, layers not compressed"


def cases(context: Context) -> Iterator[Case]:
    """The sets, then the three images of the example."""
    artifacts = context.artifacts()
    template = context.with_base(artifacts)
    reason, peer = context.without_buildah, None
    if reason is None:
        steps = context.example_wheels(artifacts)
        peer = Peer(context.fresh("peer"), context.wheels)
        base = context.fresh("base") / "layout"
        layout_of(template, base)
        peer.start(base)
    try:
        for wheel_set in context.sets.values():
            for case in _Set(context, wheel_set, template, peer).run():
                case.skipped = reason
                yield case
        if peer is not None:
            yield from _example(context, artifacts, template, peer, steps)
    finally:
        if peer is not None:
            peer.clean()


class _Set:
    """One wheel set; each round goes through the scenarios in the order in which they happen to a user."""

    def __init__(self, context: Context, wheel_set: WheelSet, template: Path, peer: Peer | None) -> None:
        self.context = context
        self.set = wheel_set
        self.template = template
        self.peer = peer
        self.series: dict[str, dict[str, Series]] = {}

    def run(self) -> Iterator[Case]:
        context, name = self.context, self.set.name
        locks = {"": context.lock(name, self.set.pins)}
        locks |= {change: context.lock(name, self.set.after(change)) for change in self.set.changed}
        if self.peer is not None:
            # uv's cache gets warm, and so does the cache of layers.
            for pins in (self.set.pins, *map(self.set.after, self.set.changed)):
                self._sh(self.peer.install(pins, warm=True))
        for number in range(context.rounds):
            sides: list[Callable[[], None]] = [lambda: self._ours(locks), self._theirs]
            for side in sides if number % 2 == 0 else sides[::-1]:
                side()
        for title, found in self.series.items():
            yield Case(f"{name}: {title}", list(found.values()), list(self._ratios(title, found)))

    def _ratios(self, title: str, found: Mapping[str, Series]) -> Iterator[Ratio]:
        goal = GOALS.get((self.set.name, title))
        for label in (PEER, WARM, LOOSE):
            if label in found:
                value = found[label].wall / found[OURS].wall
                yield Ratio(f"wall: {label} / {OURS}", value, goal if label == PEER else None, "at least")

    def _ours(self, locks: Mapping[str, Path]) -> None:
        context, name = self.context, self.set.name
        store = context.cold(self.template)
        self._add("cold", OURS, context.build(locks[""], name, store))
        for change in self.set.changed:
            self._add(f"{change} changed", OURS, context.build(locks[change], name, store))
        self._add("nothing changed", OURS, context.build(locks[""], name, store))
        shutil.rmtree(store)

    def _theirs(self) -> None:
        peer, pins = self.peer, self.set.pins
        if peer is None:
            return
        for label, warm in ((PEER, False), (WARM, True)):
            out = self.context.fresh("peer-out")
            self._add("cold", label, self._sh(peer.install(pins, warm=warm) + peer.commit(out / "a", "cold")))
            for change in self.set.changed:
                # Into the same layout, so that the base's layers are there and need not be compressed again.
                script = peer.install(self.set.after(change), warm=warm) + peer.commit(out / "a", "changed")
                self._add(f"{change} changed", label, self._sh(script))
            peer.clean()
            shutil.rmtree(out)
        out = self.context.fresh("peer-out")
        loose = peer.install(pins, warm=True) + peer.commit(out / "b", "cold", compressed=False)
        self._add("cold", LOOSE, self._sh(loose))
        cached = peer.cached_build(pins, self.context.fresh("containerfile"))
        self._sh(cached)
        self._add("nothing changed", PEER, self._sh(cached))
        peer.clean()
        shutil.rmtree(out)

    def _sh(self, script: str) -> Sample:
        return command(("sh", "-ec", script))

    def _add(self, title: str, label: str, sample: Sample) -> None:
        self.series.setdefault(title, {}).setdefault(label, Series(label)).samples.append(sample)


def _example(
    context: Context, artifacts: Path, template: Path, peer: Peer, steps: Mapping[int, Sequence[str]]
) -> Iterator[Case]:
    """The example's three images from nothing but artifacts; the peer shares layers as well as it can."""
    ours, from_debs = Series(OURS), Series(f"{OURS}, base from its .debs too")
    theirs, warm = Series(PEER), Series(WARM)
    facts: dict[str, object] = {"peer": peer.version()}

    def build(template: Path, series: Series, *, only_artifacts: bool) -> None:
        store = context.cold(template, only_artifacts=only_artifacts)
        env = {"FLYTE_BUILD_CACHE": str(store)}
        made = command((*CLI, "build", str(EXAMPLE), "--json"), env=env, cwd=ROOT)
        series.samples.append(made)
        facts[f"{OURS}: three images together"] = _unique(store / "oci")
        assert all(not image["reused"] for image in json.loads(made.output)["images"])
        shutil.rmtree(store)

    def chain(series: Series, *, warm: bool) -> None:
        def install(step: int, base: str = BASE) -> str:
            return peer.install(steps[step], base, warm=warm)

        out = context.fresh("peer-out")
        runtime, fold = "localhost/runtime", "localhost/fold"
        script = (
            install(0) + peer.keep(runtime)
            + install(1, runtime) + peer.keep(fold) + peer.commit(out / "a", "fold_env")
            + install(2, runtime) + peer.commit(out / "a", "msa_env")
            + install(2, fold) + peer.commit(out / "a", "multi_env")
        )  # fmt: skip
        series.samples.append(command(("sh", "-ec", script)))
        facts[f"{PEER}: three images together"] = _unique(out / "a")
        peer.clean()
        shutil.rmtree(out)

    command(("sh", "-ec", "".join(peer.install(pins, warm=True) for pins in steps.values())))
    for number in range(context.rounds):
        sides: list[Callable[[], None]] = [
            lambda: build(template, ours, only_artifacts=False),
            lambda: build(artifacts, from_debs, only_artifacts=True),
            lambda: chain(theirs, warm=False),
            lambda: chain(warm, warm=True),
        ]
        for side in sides if number % 2 == 0 else sides[::-1]:
            side()
    ratios = [
        Ratio(f"wall: {PEER} / {OURS}", theirs.wall / ours.wall, EXAMPLE_COLD, "at least"),
        Ratio(f"wall: {WARM} / {OURS}", warm.wall / ours.wall),
        Ratio(f"wall: {PEER} / {from_debs.label}", theirs.wall / from_debs.wall),
    ]
    yield Case("the example's three images: cold", [ours, from_debs, theirs, warm], ratios, facts)


def _unique(oci: Path) -> str:
    sizes = [path.stat().st_size for path in (oci / "blobs" / "sha256").iterdir()]
    return f"{len(sizes)} blobs, {sum(sizes) / 1e6:.1f} MB"
