"""(d) The largest peak of memory of any process of a build, from cold: it must not grow with what is built."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from .context import CLI, Context
from .measure import Series, command
from .report import Case, Ratio
from .sets import EXAMPLE, ROOT

__all__ = ["cases"]

GOAL_MB = 100


def cases(context: Context) -> Iterator[Case]:
    """Each set with the Debian base, then the example through the command line."""
    artifacts = context.artifacts()
    for wheel_set in context.sets.values():
        lock = context.lock(wheel_set.name, wheel_set.pins)
        series = Series("flyte-build, cold, base from its .debs too")
        for _ in range(context.rounds):
            store = context.cold(artifacts, only_artifacts=True)
            series.samples.append(context.build(lock, wheel_set.name, store))
            shutil.rmtree(store)
        size = sum(path.stat().st_size for path in context.fetch(wheel_set.pins))
        facts: dict[str, object] = {"wheels": f"{size / 1e6:.1f} MB"}
        yield Case(f"{wheel_set.name}: peak memory", [series], [_peak(series)], facts)
    if not context.real:
        return
    series, flyte = Series("flyte-build build, three images"), Series("python -c 'import flyte'")
    for _ in range(context.rounds):
        store = context.cold(artifacts, only_artifacts=True)
        env = {"FLYTE_BUILD_CACHE": str(store)}
        series.samples.append(command((*CLI, "build", str(EXAMPLE), "-q"), env=env, cwd=ROOT))
        shutil.rmtree(store)
        flyte.samples.append(command((CLI[0], "-c", "import flyte")))
    more = Ratio("peak above that of `import flyte`", (series.peak - flyte.peak) / 1e6, unit="MB")
    yield Case("the example: peak memory", [series, flyte], [_peak(series), more])


def _peak(series: Series) -> Ratio:
    return Ratio("peak", series.peak / 1e6, GOAL_MB, unit="MB")
