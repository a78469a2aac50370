"""(c) What it costs to find out that there is nothing to do: ``plan`` and ``build`` of images that are all built.

The floors are an interpreter that does nothing, and one that imports flyte, which reading a user's file takes. The peer
is ``flyte build`` of an environment with the default image, which it knows to be there without asking anybody: the
least that it ever does. It is the SDK as it is where flyte-build is not installed: our plug-in, which would pin the
image, is hidden from it, and the run fails where any of our modules was imported all the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from .context import CLI, NO_PEERS, Context
from .measure import Sample, command, in_turns
from .report import Case, Ratio
from .sets import EXAMPLE, ROOT

__all__ = ["cases"]

GOAL_MS = 30
_FLYTE = """
import importlib.metadata as metadata, sys

every = metadata.entry_points
found = every()


class Others:
    def select(self, **asked):
        return metadata.EntryPoints(e for e in found.select(**asked) if not e.value.startswith("flyte_build."))


metadata.entry_points = lambda **asked: every(**asked) if asked else Others()
from flyte.cli.main import main

try:
    main()
finally:
    if "flyte_build" in sys.modules:
        sys.exit("expected the SDK alone, found flyte_build imported")
"""
FLYTE = (sys.executable, "-c", _FLYTE)


def cases(context: Context) -> Iterator[Case]:
    """The example's three images; they are planned only where there are none, because nothing may be fetched."""
    store = context.artifacts()
    env = {"FLYTE_BUILD_CACHE": str(store)}

    def run(*arguments: str) -> Callable[[], Sample]:
        return lambda: command(arguments, env=env, cwd=ROOT)

    sides = {
        "python -c pass": run(sys.executable, "-c", "pass"),
        "python -c 'import flyte'": run(sys.executable, "-c", "import flyte"),
        "flyte-build plan": run(*CLI, "plan", str(EXAMPLE)),
    }
    if context.peers:
        nothing = context.scratch / "nothing.py"
        nothing.write_text('import flyte\nenv = flyte.TaskEnvironment("plain")\n')
        sides["flyte build"] = run(*FLYTE, "build", str(nothing), "env")
    if context.real:
        sides["flyte-build build"] = run(*CLI, "build", str(EXAMPLE))
    for side in sides.values():
        side()
    series = in_turns(context.rounds, sides)
    by_label = {s.label: s for s in series}
    floor = by_label["python -c 'import flyte'"]
    ratios = []
    for s in series[2:]:
        if s.label == "flyte build":
            continue
        ratios.append(Ratio(f"wall: {s.label} / import flyte", s.wall / floor.wall))
        ratios.append(Ratio(f"processor: {s.label} / import flyte", s.cpu / floor.cpu))
    plan = by_label["flyte-build plan"]
    if peer := by_label.get("flyte build"):
        ratios.append(Ratio("flyte build / flyte-build plan", peer.wall / plan.wall, 5, "at least"))
    for label in ("flyte-build plan", "flyte-build build"):
        if found := by_label.get(label):
            ratios.append(Ratio(label, found.wall * 1000, GOAL_MS, unit="ms"))
    yield Case("three images, nothing to do", series, ratios, skipped=None if context.peers else NO_PEERS)
