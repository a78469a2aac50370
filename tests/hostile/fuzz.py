"""A small fuzzer of our own: what strangers may send, changed in any way, is taken or refused in words.

``./dev fuzz [TARGET...] --minutes N`` runs until the time is over; the fast tests run each target for some hundred
cases. The stream of a target's cases is decided by ``--seed`` and the corpus: a case that reaches a line which none
reached before is changed further. A crash is anything but the errors that a target may raise, a case that takes too
long or too much memory, and one that would change something outside of its folder; its bytes are written down, and
``./dev fuzz TARGET --input PATH`` runs them again. ``--grow`` keeps in the corpus what found new lines.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import random
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from flyte_build.kernel.errors import FlyteBuildError
from flyte_build.kernel.visible import visible

from .fuzz_guard import MEMORY, Guard, Hangs, Outside
from .fuzz_paths import EVERY, Paths
from .fuzz_targets import CORPUS, TARGETS, seeds

__all__ = ["CORPUS", "TARGETS", "Crash", "Fuzzed", "Stream", "fuzz", "one"]

FINDINGS = Path("fuzz-findings")
# Inputs that are changed further; more of them, and larger ones, cost more than they find.
_MOST, _LEAST = 2000, 4 << 10


class Crash(Exception):
    """A case that is neither taken nor refused."""


@dataclass
class Fuzzed:
    """What came of a target: ``new`` counts lines of flyte_build, ``slowest`` is in seconds, ``kib`` of memory."""

    target: str
    cases: int = 0
    taken: int = 0
    crashes: list[str] = field(default_factory=list)
    new: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    kib: int = 0
    found: list[bytes] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        rate = round(self.cases / self.seconds) if self.seconds else 0
        return {
            "target": self.target, "cases": self.cases, "taken": self.taken, "crashes": len(self.crashes),
            "new": self.new, "per_second": rate, "slowest": round(self.slowest, 3), "mib": self.kib >> 10,
        }  # fmt: skip


class Stream:
    """The cases of a target, one after the other: changes to its seeds, and to what :meth:`keep` added."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self._r = random.Random(f"{name} {seed}")
        self._mutate = TARGETS[name].mutate
        self._known = seeds(TARGETS[name])
        self._largest = max(_LEAST, *(2 * len(data) for data in self._known))

    def next(self) -> bytes:
        r, known = self._r, self._known
        # What was found last is where the new is: half of the cases begin with one of the newest.
        at = r.randrange(len(known)) if r.random() < 0.5 else len(known) - 1 - r.randrange(min(16, len(known)))
        data = self._mutate(r, known[at], known)
        return self._mutate(r, data, known) if r.random() < 0.1 else data

    def keep(self, data: bytes) -> None:
        if len(data) <= self._largest and len(self._known) < _MOST:
            self._known.append(data)


def one(name: str, data: bytes, guard: Guard | None = None) -> bool:
    """Whether ``data`` is taken; raises :class:`Crash` where it is not refused in words either."""
    if guard is None:
        with Guard() as guard:
            return one(name, data, guard)
    target = TARGETS[name]
    crash: str | None = None
    guard.start()
    try:
        target.run(data, guard.folder)
        taken = True
    except target.refusals as e:
        taken = False
        said = e.message if isinstance(e, FlyteBuildError) else str(e)
        visible(said).encode()
        if not said.strip() or len(said) > 20_000:
            crash = f"{type(e).__name__} with a message of {len(said)} characters"
    except (Exception, Hangs, Outside) as e:
        crash = f"{type(e).__name__}: {str(e)[:300]} ({_place(e)})"
    crash = guard.end() or crash
    if crash is not None:
        raise Crash(crash)
    return taken


def _place(e: BaseException) -> str:
    """The last line of ours in a traceback."""
    place, step = "", e.__traceback__
    while step is not None:
        if "flyte_build" in step.tb_frame.f_code.co_filename:
            place = f"{step.tb_frame.f_code.co_filename.rpartition('flyte_build/')[2]}:{step.tb_lineno}"
        step = step.tb_next
    return place


def fuzz(
    name: str, seed: int, until: Callable[[int], bool], *, findings: Path | None = None, limited: bool = False
) -> Fuzzed:
    """Run cases until ``until(number)``. Crashes are listed, each kind once, and their inputs put into ``findings``."""
    done, stream, known = Fuzzed(name), Stream(name, seed), set[str]()
    with Guard() as guard:
        for data in seeds(TARGETS[name]):
            one(name, data, guard)
    paths = Paths()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Guard(limited=limited) as guard:
        for data in seeds(TARGETS[name]):
            with paths:
                one(name, data, guard)
        began, start = paths.all, time.perf_counter()
        now = start
        while not until(done.cases):
            data = stream.next()
            seen = done.cases % EVERY == 0
            try:
                if seen:
                    with paths:
                        done.taken += one(name, data, guard)
                else:
                    done.taken += one(name, data, guard)
            except Crash as e:
                kind = str(e).partition(":")[0] + str(e).rpartition("(")[2]
                if kind not in known:
                    known.add(kind)
                    done.crashes.append(f"{name}: {e}{_written(name, data, findings)}")
            if seen and paths.new:
                stream.keep(data)
                done.found.append(data)
            done.cases += 1
            last, now = now, time.perf_counter()
            done.slowest = max(done.slowest, now - last)
        done.new, done.seconds = paths.all - began, now - start
        paths.close()
    done.kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if done.kib << 10 > MEMORY:
        done.crashes.append(f"{name}: took {done.kib >> 10} MiB more than before its first case")
    return done


def _written(name: str, data: bytes, findings: Path | None) -> str:
    if findings is None:
        return ""
    path = findings / name / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return f"; ./dev fuzz {name} --input {path}"


def _timed(name: str, seed: int, seconds: float, cases: int | None, findings: Path) -> Fuzzed:
    end = time.monotonic() + seconds
    most = cases if cases is not None else 1 << 62
    return fuzz(name, seed, lambda n: n >= most or time.monotonic() > end, findings=findings.absolute(), limited=True)


def _all(names: Sequence[str], given: argparse.Namespace) -> list[Fuzzed]:
    seconds = given.minutes * 60 * given.jobs / len(names)
    # A process of its own for each target: what one leaves in memory is not taken for another's.
    context = multiprocessing.get_context("spawn")
    done = []
    with ProcessPoolExecutor(given.jobs, context, max_tasks_per_child=1) as pool:
        asked = [pool.submit(_timed, n, given.seed, seconds, given.cases, given.findings) for n in names]
        for future in asked:
            fuzzed = future.result()
            done.append(fuzzed)
            for crash in fuzzed.crashes:
                print(visible(crash), flush=True)
            print(json.dumps(fuzzed.to_json()), flush=True)
    return done


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--minutes", type=float, default=1.0, help="for all targets together (default: 1)")
    parser.add_argument("--cases", type=int, help="at most so many of each target")
    parser.add_argument("--jobs", type=int, default=1, help="targets side by side (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="decides the cases (default: 0)")
    parser.add_argument("--findings", type=Path, default=FINDINGS, help=f"where crashes go (default: {FINDINGS})")
    parser.add_argument("--input", type=Path, help="run the bytes of this file through one target, and nothing else")
    parser.add_argument("--grow", action="store_true", help="keep what finds new lines in the corpus")
    parser.add_argument("--seeds", action="store_true", help="write the builders' part of the corpus anew")
    asked = parser.parse_args()
    if asked.seeds:
        from .corpus_of import write_corpus

        write_corpus(CORPUS)
        return 0
    if unknown := [name for name in asked.targets if name not in TARGETS]:
        parser.error(f"no target {', '.join(unknown)}")
    if asked.input is not None:
        print("taken" if one(asked.targets[0], asked.input.read_bytes()) else "refused")
        return 0
    done = _all(asked.targets or list(TARGETS), asked)
    total = {"cases": sum(f.cases for f in done), "crashes": sum(len(f.crashes) for f in done)}
    print(json.dumps(total | {"new": sum(f.new for f in done)}))
    if asked.grow:
        from .fuzz_growing import grow

        grow(done)
    return 1 if total["crashes"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
