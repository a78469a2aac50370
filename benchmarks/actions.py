"""(g) What an action costs: in a process of its own, as a fork, in a replica, and in the SDK's own local mode.

One task that maps a trivial one over a number of inputs, by the unmodified runtime, in sandboxes over this machine's
own files (so no image is made). Each side runs twice, with few inputs and with many: what the difference takes is the
actions' alone, with their parent's, the engine's, the service's and the sandboxes' part in it. Beside them is measured
what nobody can go below: the runtime by itself (``floor``), and what of each side is this process's, the launcher's.
Not among those that run by default: it needs a way into a sandbox.
"""

from __future__ import annotations

import compileall
import json
import statistics
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from .context import Context
from .measure import Series, command
from .report import Case, Ratio
from .sets import ROOT

__all__ = ["WORKFLOW", "cases"]

FEW = 2
GOALS_MS = {"forks": 80.0, "replicas": 5.0}
FRAMES_GOAL_MS = 110.0
# Which part of which side the SDK takes by itself.
FLOORS = {"cold": "a0 alone", "replicas": "run_task alone"}
PANDAS = ("numpy==2.4.6", "pandas==3.1.1", "pyarrow==26.0.1", "python-dateutil==4.0.0", "tzdata==2026.6")
WORKFLOW = """
import flyte

apart = flyte.TaskEnvironment(name="leaf")
reused = flyte.TaskEnvironment(name="middle", reusable=flyte.ReusePolicy(replicas=(1, 1), concurrency=32))
top = flyte.TaskEnvironment(name="top", depends_on=[apart, reused])


@apart.task
async def one(x: int) -> int:
    return 2 * x


@reused.task
async def shared(x: int) -> int:
    return 2 * x


@top.task
async def main(n: int) -> int:
    return sum([x async for x in flyte.map.aio(one, range(n))])


@top.task
async def main_reused(n: int) -> int:
    return sum([x async for x in flyte.map.aio(shared, range(n))])
"""
FRAMES = """
import flyte
import pandas as pd

apart = flyte.TaskEnvironment(name="leaf")
top = flyte.TaskEnvironment(name="top", depends_on=[apart])


@apart.task
async def one(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(c=frame.a + frame.b)


@top.task
async def main(n: int) -> int:
    frame = pd.DataFrame({"a": range(100), "b": range(100)})
    return int(sum([(await one(frame)).c.sum() for _ in range(n)]))
"""
_RUN = """
import dataclasses, json, os, pathlib, sys, tempfile, time
from flyte_build.workbench.running import log_settings
from tests.submit import conftest
folder, module, task, count, warm, network, packages = sys.argv[1:]
conftest.WORKFLOWS = pathlib.Path(folder)
# It goes with the benchmark's folder: to remove thousands of files is no action's work.
runs = conftest.Runs(pathlib.Path(tempfile.mkdtemp(dir=folder)))
if packages:
    # Beside what the images have, which is this environment.
    os.environ["PYTHONPATH"] = packages
    inside = "/run/flyte-build/packages"
    for name, image in runs.images.items():
        env, binds = (*image.env, f"PYTHONPATH={inside}"), (*image.binds, (pathlib.Path(packages), inside))
        runs.images[name] = dataclasses.replace(image, env=env, binds=binds)
root = runs.action(module, task, n=int(count))
# As `flyte-build run` has them: the runtime's own level tells of every change of a child.
root = dataclasses.replace(root, env={**root.env, **log_settings(dict())})
before = time.process_time()
result = runs.run(root, "one", warm=warm == "warm", network=network)
print(json.dumps({"launcher": time.process_time() - before}))
if result.phase.value != "succeeded" or len(result.actions) != int(count) + 1:
    sys.exit(f"{result.phase}: {result.error}")
cold = pathlib.Path(result.folder, "workers", "cold.log")
if warm == "warm" and cold.exists():
    sys.exit(cold.read_text())
"""
_LOCAL = """
import sys
import zipfile
sys.path.insert(0, sys.argv[1])
import flyte, mapped
flyte.init()
flyte.with_runcontext(mode="local").run(mapped.main, n=int(sys.argv[2]))
"""


def cases(context: Context) -> Iterator[Case]:
    folder = context.scratch / "actions"
    folder.mkdir()
    (folder / "mapped.py").write_text(WORKFLOW)
    many = 3 if context.quick else 66
    wide = 4 if context.quick else 1000

    def run(task: str, warm: str, network: str, module: str = "mapped", packages: str = "") -> tuple[str, ...]:
        return (sys.executable, "-c", _RUN, str(folder), module, task, "{}", warm, network, packages)

    def floor(what: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "benchmarks.floor", what, "{}")

    for network in ("host",) if context.quick else ("host", "internet"):
        yield _compared(
            f"an action, network {network}",
            many,
            {
                "cold": run("main", "cold", network),
                "forks": run("main", "warm", network),
                "replicas": run("main_reused", "warm", network),
                **({FLOORS["cold"]: floor("cold")} if network == "host" else {}),
                **({"flyte run --local": (sys.executable, "-c", _LOCAL, str(folder), "{}")} if context.peers else {}),
            },
            context.rounds,
        )
    if not context.quick:
        (folder / "frames.py").write_text(FRAMES)
        packages = str(_unpacked(context))
        yield _compared(
            "an action that takes and gives a data frame",
            many // 2,
            {w: run("main", "cold" if w == "cold" else "warm", "host", "frames", packages) for w in ("cold", "forks")},
            context.rounds,
            {"forks": FRAMES_GOAL_MS},
        )
    yield _compared(
        f"a map of {wide:,}",
        wide,
        {
            "forks": run("main", "warm", "host"),
            "replicas": run("main_reused", "warm", "host"),
            FLOORS["replicas"]: floor("replica"),
        },
        1,
    )


def _unpacked(context: Context) -> Path:
    """A folder with pandas and what it needs, compiled."""
    folder = context.fresh("frames")
    for wheel in context.fetch(PANDAS):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    compileall.compile_dir(folder, quiet=2, workers=0)
    return folder


def _compared(
    title: str,
    many: int,
    sides: dict[str, tuple[str, ...]],
    rounds: int,
    goals: Mapping[str, float] = GOALS_MS,
) -> Case:
    series = {label: Series(f"{label}, {many:,} actions") for label in sides}
    bases = {label: Series(f"{label}, {FEW} actions") for label in sides}
    for _ in range(rounds):
        for label, words in sides.items():
            for found, count in ((bases[label], FEW), (series[label], many)):
                found.samples.append(command([w.replace("{}", str(count)) for w in words], cwd=ROOT))
    per = {label: (series[label].cpu - bases[label].cpu) / (many - FEW) * 1000 for label in sides}
    walls = {label: (series[label].wall - bases[label].wall) / (many - FEW) for label in sides}
    ratios = [Ratio(f"processor time an action, {n}", ms, goals.get(n), unit=" ms") for n, ms in per.items()]
    if "cold" in per:
        ratios += [Ratio(f"cold ÷ {n}", per["cold"] / max(per[n], 0.01)) for n in ("forks", "replicas") if n in per]
    own = {label: _launcher(series[label]) - _launcher(bases[label]) for label in sides}
    ratios += [Ratio(f"of it the launcher, {n}", s / (many - FEW) * 1000, unit=" ms") for n, s in own.items() if s]
    ratios += [Ratio(f"{n} ÷ {least}", per[n] / per[least]) for n, least in FLOORS.items() if {n, least} <= per.keys()]
    # A difference of walls that is none says nothing: other work had the processors.
    ratios += [Ratio(f"actions a second, {n}", 1 / wall, unit="") for n, wall in walls.items() if wall > 1e-4]
    peaks = {label: {"few": bases[label].peak, "many": series[label].peak} for label in sides}
    return Case(title, [s for label in sides for s in (bases[label], series[label])], ratios, {"peak_bytes": peaks})


def _launcher(series: Series) -> float:
    """Seconds of processor time of the launcher's own process, as it says them; 0 where there is none."""
    said = [json.loads(sample.output) for sample in series.samples if sample.output.startswith('{"launcher"')]
    return statistics.median(float(one["launcher"]) for one in said) if said else 0.0
