"""A command, run and measured from outside: wall time, processor time and the largest peak of memory in its tree.

Each command is started by a tiny interpreter of its own, because Linux counts the memory of the process that starts
another one to the new one's peak. What is compared is run in turns, so that a disturbance meets both sides.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Sample", "Series", "command", "in_turns"]

_STARTER = """
import json, os, resource, sys, time
started = time.perf_counter()
_, status = os.waitpid(os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ), 0)
wall = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as f:
    json.dump([wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024], f)
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: ``wall`` and ``cpu`` in seconds, ``peak`` in bytes (0: not measured); ``output`` is its stdout."""

    wall: float
    cpu: float
    peak: int = 0
    output: str = ""


@dataclass(slots=True)
class Series:
    """The runs of one side of a comparison."""

    label: str
    samples: list[Sample] = field(default_factory=list)

    @property
    def wall(self) -> float:
        return statistics.median(s.wall for s in self.samples)

    @property
    def cpu(self) -> float:
        return statistics.median(s.cpu for s in self.samples)

    @property
    def peak(self) -> int:
        return max(s.peak for s in self.samples)

    def to_json(self) -> dict[str, object]:
        walls = sorted(s.wall for s in self.samples)
        return {
            "label": self.label,
            "wall_seconds": [round(s.wall, 4) for s in self.samples],
            "wall_median": round(self.wall, 4),
            "wall_spread": [round(walls[0], 4), round(walls[-1], 4)],
            "cpu_median": round(self.cpu, 4),
            "peak_bytes": self.peak,
        }


def command(
    arguments: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | os.PathLike[str] | None = None
) -> Sample:
    """Run a command; raises ``RuntimeError`` with what it said when it fails."""
    # A side that syncs what it writes must not wait for what the other side left unwritten.
    os.sync()
    with tempfile.NamedTemporaryFile("r") as result:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _STARTER, result.name, *arguments],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)[:200]}: failed\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        wall, cpu, peak = json.load(result)
    return Sample(wall, cpu, peak, done.stdout)


def in_turns(rounds: int, sides: Mapping[str, Callable[[], Sample]]) -> list[Series]:
    """``rounds`` runs of each side, alternating; every other round begins with the other end."""
    series = {label: Series(label) for label in sides}
    for number in range(rounds):
        order = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for label in order:
            series[label].samples.append(sides[label]())
    return list(series.values())
