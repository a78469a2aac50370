"""`./dev torture --kills N`: commands are killed at random instants, and what must hold afterwards is looked at.

Each kill is SIGKILL to one process, at an instant that the seed decides: of `lock`, `build`, `push` (to docker-registry
on the loopback, where it is installed), `unbundle`, of `build` or the `store gc` beside it, or both; and of a run of
several actions, which is then resumed, killed again, and resumed to its end. Then:

- `store verify` finds nothing, and every tag in the registry is whole;
- the same command, run again, gives the digests that it always gives; a run gives its result, and no action that had
  succeeded ran once more;
- nothing is left: no process, mount or control group, no temporary file, session or socket.

Needs no network. Prints one line a round, and ends with 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from flyte_build.kernel.scratch import PREFIX
from flyte_build.registry import Reference, Registry
from flyte_build.store import layout

from . import torture_forks
from .torture_rig import MARK, Rig, rigged
from .torture_runs import Broken, Runs, processes

# -- what is killed ----------------------------------------------------------------------------------


def kill_lock(rig: Rig) -> bool:
    shutil.rmtree(rig.project / "lockfiles")
    if rig.chance.random() < 0.5:
        rig.fresh()
    alive = rig.kill("lock", "flow.py")
    rig.ok("lock", "flow.py")
    found = {p.name: p.read_bytes() for p in (rig.project / "lockfiles").iterdir()}
    if found != rig.locks:
        raise Broken(f"the locks are others, or more: {sorted(found)}")
    return alive


def kill_build(rig: Rig) -> bool:
    rig.fresh()
    alive = rig.kill("build", "flow.py")
    verified(rig)
    rig.digests("build", "flow.py")
    return alive


def kill_gc_beside_build(rig: Rig) -> bool:
    if rig.chance.random() < 0.5:
        rig.fresh()
    beside = rig.command("store", "gc", "--keep-days", "0")
    alive = rig.kill("build", "flow.py", beside=beside)
    verified(rig)
    rig.digests("build", "flow.py")
    return alive


def kill_push(rig: Rig) -> bool:
    if rig.chance.random() < 0.5:
        rig.fresh()
    rig.pushes += 1
    words = ("push", "flow.py", "--registry", f"{rig.registry}/t{rig.pushes}")
    alive = rig.kill(*words)
    verified(rig)
    whole(rig)
    rig.digests(*words)
    whole(rig)
    return alive


def kill_unbundle(rig: Rig) -> bool:
    rig.fresh()
    words = ("unbundle", str(rig.home / "bundle"), "--lockfiles", str(rig.home / "there"))
    alive = rig.kill(*words)
    verified(rig)
    rig.ok(*words)
    rig.digests("build", "flow.py")
    return alive


def _runs(rig: Rig) -> Runs:
    if rig.runs is None:
        rig.runs = Runs(rig.home / "of-runs", rig.chance)
    return rig.runs


def kill_run(rig: Rig) -> list[bool]:
    return _runs(rig).killed_and_resumed("stub")


def kill_run_of_the_sdk(rig: Rig) -> list[bool]:
    _runs(rig).of_the_sdk()
    return _runs(rig).killed_and_resumed("sdk")


KILLS: dict[str, Callable[[Rig], bool | list[bool]]] = {
    "lock": kill_lock,
    "build": kill_build,
    "push": kill_push,
    "unbundle": kill_unbundle,
    "gc beside build": kill_gc_beside_build,
    "run": kill_run,
    "run of the SDK": kill_run_of_the_sdk,
}
# A round of these, again and again: what takes long comes seldom.
ROUND = (*(*list(KILLS)[:5], "run") * 3, "run of the SDK")


# -- what must hold ----------------------------------------------------------------------------------


def verified(rig: Rig) -> None:
    rig.ok("store", "verify")


def whole(rig: Rig) -> None:
    """Every tag of the last push leads to manifests and blobs that are there."""
    with Registry(certificates=()) as registry:
        for environment in ("low", "top"):
            place = Reference.parse(f"{rig.registry}/t{rig.pushes}/{environment}")
            waiting = [place.with_tag(tag) for tag in registry.tags(place)]
            while waiting:
                ref = waiting.pop()
                manifest = registry.manifest(ref)
                if manifest is None:
                    raise Broken(f"{ref} is not there")
                waiting += [place.with_digest(str(m["digest"])) for m in layout.manifests(manifest.json)]
                for digest, size in layout.references({**manifest.json, "manifests": []}):
                    if registry.blob(place, digest) != size:
                        raise Broken(f"{ref} names {digest}, which is not there as stated")


def nothing_left(rig: Rig) -> None:
    deadline = time.monotonic() + 10
    while left := running(rig):
        if time.monotonic() > deadline:
            raise Broken(f"still running: {left}")
        time.sleep(0.02)
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    left = [m for m in mounts if m.startswith(str(rig.home))]
    left += [str(p) for p in rig.temporary.iterdir()]
    left += [str(p) for p in rig.project.rglob("*") if PREFIX in p.name or p.name.endswith(".tmp")]
    left += [str(p) for p in (rig.store / "tmp").glob("session-*")]
    if left:
        raise Broken(f"left behind: {left}")


def running(rig: Rig) -> list[str]:
    own = torture_forks.ours()
    return [text for text in processes(f"{MARK}={rig.home}") if int(text.split()[0]) not in own]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./dev torture", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=list(KILLS), action="append")
    given = parser.parse_args(arguments)
    done: Counter[str] = Counter()
    alive: Counter[str] = Counter()
    broken: list[str] = []
    order = [name for name in ROUND if name in (given.only or ROUND)]
    with rigged(given.seed) as rig:
        for name in itertools.cycle(order):
            if sum(done.values()) >= given.kills:
                break
            started, number = time.monotonic(), sum(done.values()) + 1
            try:
                hits = KILLS[name](rig)
                hits = hits if isinstance(hits, list) else [hits]
                nothing_left(rig)
                said = "held"
            except Broken as e:
                hits = [True]
                broken.append(f"kill {number} ({name}): {e}")
                said = f"BROKEN: {e}"
            done[name] += len(hits)
            alive[name] += sum(hits)
            print(f"{number:4} {name:16} {time.monotonic() - started:5.1f} s  {said}", flush=True)
    return summary(done, alive, broken)


def summary(done: Mapping[str, int], alive: Mapping[str, int], broken: list[str]) -> int:
    for name, count in done.items():
        print(f"{name}: {count} kills, {alive[name]} of them before its end")
    print(f"{sum(done.values())} kills, {len(broken)} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
