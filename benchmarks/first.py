"""(l) The first run: from a built store in which nothing is unpacked to the first line that the first task prints.

What is waited for is the example's: import of the user's file, unpacking, the sandbox, the image's own Python, and the
task's import of its module. Beside it the same command once more, with all unpacked and compiled. The whole command is
measured besides, with all that it leaves for the next run; processor times are of the whole command, too. Not among
those that run by default: it needs a way into a sandbox, and the example's packages.

Removes nothing while it measures: for minutes after thousands of files went, an ext4 without a journal makes new ones
at several times their cost, for it looks at each inode that was freed a moment ago, and passes over it. With a journal,
as machines have it, it does not. Which of them it is stands among what is said of the machine.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from .context import CLI, Context
from .measure import Sample, Series, command
from .report import Case, Ratio
from .sets import EXAMPLE, ROOT

__all__ = ["AGAIN", "FIRST", "WAITING", "WHOLE", "cases"]

GOAL_S = 1.5
FIRST, AGAIN, WHOLE = "the first run", "the run after it", "the first run, to the end of the command"
_TASK = ("main", "--sequence", "AAGGTTCCAA")
# Waits for the first line in the log of a run's first action, which is the only run of its folder.
WAITING = """
import json, pathlib, subprocess, sys, time
runs, began = pathlib.Path(sys.argv[1], "runs"), time.perf_counter()
running, line = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL), None
while line is None and running.poll() is None:
    time.sleep(0.002)
    if any(log.stat().st_size for log in runs.glob("*/logs/a0/*.log")):
        line = time.perf_counter() - began
code = running.wait()
if line is None and any(log.stat().st_size for log in runs.glob("*/logs/a0/*.log")):
    line = time.perf_counter() - began
print(json.dumps({"line": line, "whole": time.perf_counter() - began}))
sys.exit(code or line is None)
"""


def cases(context: Context) -> Iterator[Case]:
    title = "the example: until its first task prints a line"
    if context.quick and not context.peers:
        yield Case(title, [], skipped="not measured: --quick --no-peers, and its packages come from the network")
        return
    template = context.cache / "store"
    command((*CLI, "build", str(EXAMPLE), "-q"), env={"FLYTE_BUILD_CACHE": str(template)}, cwd=ROOT)
    found = {label: Series(label) for label in (FIRST, AGAIN, WHOLE)}
    for _ in range(context.rounds):
        store = _built(context, template)
        line, whole = _run(context, store)
        found[FIRST].samples.append(line)
        found[WHOLE].samples.append(whole)
        found[AGAIN].samples.append(_run(context, store)[0])
    ratios = [Ratio(FIRST, found[FIRST].wall, GOAL_S, unit="s"), Ratio(AGAIN, found[AGAIN].wall, GOAL_S, unit="s")]
    yield Case(title, list(found.values()), ratios)


def _built(context: Context, template: Path) -> Path:
    """A store in which the images were just found to be built, and nothing is of what runs leave there."""
    store = context.cold(template)
    aside = context.fresh("aside")
    for name in ("layers", "roots", "plans"):
        if (store / name).exists():
            os.rename(store / name, aside / name)
    command((*CLI, "build", str(EXAMPLE), "-q"), env={"FLYTE_BUILD_CACHE": str(store)}, cwd=ROOT)
    return store


def _run(context: Context, store: Path) -> tuple[Sample, Sample]:
    """Until the first line, and to the end."""
    state = context.fresh("state")
    words = (sys.executable, "-c", WAITING, str(state), *CLI, "run", "-q", str(EXAMPLE), *_TASK)
    sample = command(words, env={"FLYTE_BUILD_CACHE": str(store), "FLYTE_BUILD_STATE": str(state)}, cwd=ROOT)
    told = json.loads(sample.output)
    return Sample(told["line"], sample.cpu, sample.peak), Sample(told["whole"], sample.cpu, sample.peak)
