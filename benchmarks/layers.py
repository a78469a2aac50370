"""(a) The blob and diff_id of wheel sets, against the floor: inflate once, hash both streams, nothing else.

What is measured is in ``transcode``; here it is run in a fresh process each time, over the layers that a build of the
set would make, so that nothing is warm but the page cache. A build also takes the SHA-256 of every file, which RECORD
states; what that costs is shown by leaving it out, and what the native core saves by turning it
off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .context import WORKER, Context, facts_of
from .measure import Sample, command, in_turns
from .report import Case, Ratio
from .sets import ROOT

__all__ = ["cases"]

GOALS, GOAL = {"science": 1.2, "large": 1.2}, 1.5
OURS, TRUSTING, PURE = "flyte-build", "flyte-build without RECORD's hashes", "flyte-build in pure Python"


def cases(context: Context) -> Iterator[Case]:
    """One case a set; only our side writes."""
    for wheel_set in context.sets.values():
        yield _case(context, wheel_set.name, wheel_set.alone or wheel_set.pins)


def _case(context: Context, name: str, pins: Sequence[str]) -> Case:
    wheels = context.fetch(pins)
    lock = context.lock(name, pins, base=False)

    def floor() -> Sample:
        return _inside((*WORKER, "floor", *map(str, wheels)))

    def ours(verify: str, core: str = "auto") -> Sample:
        out = context.fresh("blobs")
        made = _inside((*WORKER, "transcode", str(lock), name, str(context.wheels), str(out), verify), core)
        for blob in out.iterdir():
            blob.unlink()
        return made

    # Before the clock: what is read is in the page cache, and what is imported is compiled.
    floor(), ours("verify")
    sides = {
        "floor": floor,
        OURS: lambda: ours("verify"),
        TRUSTING: lambda: ours("trust"),
        PURE: lambda: ours("verify", "pure"),
    }
    least, us, trusting, pure = in_turns(context.rounds, sides)
    facts = facts_of(us.samples[0])
    tar, blob = float(str(facts["tar"])), float(str(facts["blob"]))
    ratios = [
        Ratio(f"wall: {OURS} / floor", us.wall / least.wall, GOALS.get(name, GOAL)),
        Ratio(f"processor: {OURS} / floor", us.cpu / least.cpu),
        Ratio(f"wall: {TRUSTING} / floor", trusting.wall / least.wall),
        Ratio(f"processor: {TRUSTING} / floor", trusting.cpu / least.cpu),
        Ratio(f"wall: {PURE} / floor", pure.wall / least.wall),
        Ratio(f"processor: {PURE} / floor", pure.cpu / least.cpu),
    ]
    shown: dict[str, object] = {
        "assembler": facts["assembler"],
        "wheels": f"{len(wheels)}, {sum(w.stat().st_size for w in wheels) / 1e6:.1f} MB",
        "tar stream": f"{facts['files']} entries, {tar / 1e6:.1f} MB",
        "blobs": f"{blob / 1e6:.1f} MB in {facts['layers']} layers",
        "tar stream per second": f"{tar / us.wall / 1e6:.0f} MB",
    }
    return Case(f"{name}: blob and diff_id of its wheels", [least, us, trusting, pure], ratios, shown)


def _inside(arguments: Sequence[str], core: str = "auto") -> Sample:
    """A worker's run with the times that it took itself, around the work alone; ``core`` as ``$FLYTE_BUILD_CORE``."""
    sample = command(arguments, cwd=ROOT, env={"FLYTE_BUILD_CORE": core})
    facts = facts_of(sample)
    return replace(sample, wall=float(str(facts["wall"])), cpu=float(str(facts["cpu"])))
