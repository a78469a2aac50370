"""`./dev torture --kills N`: commands are killed at random instants, and what must hold afterwards is looked at.

Each kill is SIGKILL to one process, at an instant that the seed decides: of `lock`, `build`, `push` (to docker-registry
on the loopback, where it is installed), `unbundle`, or of `build` with `store gc` beside it. Then:

- `store verify` finds nothing, and every tag in the registry is whole;
- the same command, run again, gives the digests that it always gives;
- nothing is left: no process, no mount, no temporary file, no session.

Needs no network. Prints one line a kill, and ends with 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from flyte_build.kernel.scratch import PREFIX
from flyte_build.registry import Reference, Registry
from flyte_build.store import layout
from tests.support.archive import Signer, serve
from tests.support.index import SimpleIndex
from tests.support.offline import FLYTE, Offline, publish_base, workflow
from tests.support.registries import real_registry
from tests.support.registry import RegistryServer

HERE = Path(__file__).parents[2]
MARK = "FLYTE_BUILD_TORTURE"
BIG = {"alpha/data.bin": random.Random(1).randbytes(3_000_000), "alpha/__init__.py": b""}


class Broken(Exception):
    """Something that has to hold does not."""


@dataclass
class Rig:
    """A project, its index, archive and registry, and what its commands give when nobody kills them."""

    home: Path
    project: Path
    registry: str
    chance: random.Random
    reference: dict[str, str] = field(default_factory=dict)
    locks: dict[str, bytes] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    pushes: int = 0

    @property
    def store(self) -> Path:
        return self.home / "cache"

    @property
    def temporary(self) -> Path:
        return self.home / "tmp"

    def command(self, *words: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-B", "-m", "flyte_build", *words]
        environ = {**os.environ, "PYTHONPATH": str(HERE), "TMPDIR": str(self.temporary), MARK: str(self.home)}
        pipe = subprocess.PIPE
        return subprocess.Popen(line, cwd=self.project, env=environ, stdout=pipe, stderr=pipe, text=True)

    def ok(self, *words: str) -> str:
        started = time.monotonic()
        with self.command(*words) as process:
            out, err = process.communicate(timeout=300)
        if process.returncode:
            raise Broken(f"`{' '.join(words)}` ended with {process.returncode}: {err.strip()[-2000:]}")
        self.seconds[words[0]] = time.monotonic() - started
        return out

    def kill(self, *words: str) -> bool:
        """Start a command and kill it; whether it was still running."""
        process = self.command(*words)
        time.sleep(self.chance.uniform(0, 1.05 * self.seconds.get(words[0], 2.0)))
        alive = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return alive

    def fresh(self) -> None:
        shutil.rmtree(self.store, ignore_errors=True)

    def digests(self, *words: str) -> None:
        """Build or push, and compare."""
        images = json.loads(self.ok(*words, "--json"))["images"]
        found = {f"{i['environment']} {i['platform']}": str(i["digest"]) for i in images}
        if self.reference and found != self.reference:
            raise Broken(f"expected {self.reference}, found {found}")
        self.reference = found


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
    alive = rig.kill("build", "flow.py")
    if rig.chance.random() < 0.5:
        beside.send_signal(signal.SIGKILL)
    beside.communicate(timeout=120)
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


KILLS: dict[str, Callable[[Rig], bool]] = {
    "lock": kill_lock,
    "build": kill_build,
    "push": kill_push,
    "unbundle": kill_unbundle,
    "gc beside build": kill_gc_beside_build,
}


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
    while running := list(processes(rig)):
        if time.monotonic() > deadline:
            raise Broken(f"still running: {running}")
        time.sleep(0.1)
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    left = [m for m in mounts if m.startswith(str(rig.home))]
    left += [str(p) for p in rig.temporary.iterdir()]
    left += [str(p) for p in rig.project.rglob("*") if PREFIX in p.name or p.name.endswith(".tmp")]
    left += [str(p) for p in (rig.store / "tmp").glob("session-*")]
    if left:
        raise Broken(f"left behind: {left}")


def processes(rig: Rig) -> Iterator[str]:
    wanted = f"{MARK}={rig.home}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


# -- the rig -----------------------------------------------------------------------------------------


@contextmanager
def rigged(seed: int) -> Iterator[Rig]:
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torture-")))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        signer = Signer(home / "key")
        stack.callback(signer.close)
        publish_base(home / "www", signer)
        (home / "wheels").mkdir()
        archive = stack.enter_context(serve(home / "www"))
        index = stack.enter_context(SimpleIndex(home / "wheels"))
        offline = Offline(home, index, archive, patch, cast("Any", None))
        offline.configure(signer.keyring)
        offline.publish("flyte", FLYTE)
        offline.publish("alpha", files=BIG, method=0)
        offline.publish("beta", requires=["alpha"])
        offline.write(workflow("low: alpha", "top(low): alpha beta"))
        (home / "tmp").mkdir()
        if shutil.which("docker-registry"):
            host = stack.enter_context(real_registry("docker-registry", home / "registry")).host
        else:
            print("docker-registry is not installed: a registry of the tests takes its place")
            host = stack.enter_context(RegistryServer()).host
        rig = Rig(home, offline.project, host, random.Random(seed))
        rig.ok("lock", "flow.py")
        rig.locks = {p.name: p.read_bytes() for p in (rig.project / "lockfiles").iterdir()}
        rig.digests("build", "flow.py")
        # Locks with pins: what a build adds to them is not what a killed `lock` is asked for.
        rig.ok("bundle", "flow.py", "--output", str(home / "bundle"))
        rig.digests("push", "flow.py", "--registry", f"{host}/t0")
        rig.ok("unbundle", str(home / "bundle"), "--lockfiles", str(home / "there"))
        yield rig


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./dev torture", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=list(KILLS), action="append")
    given = parser.parse_args(arguments)
    done: Counter[str] = Counter()
    alive: Counter[str] = Counter()
    broken: list[str] = []
    with rigged(given.seed) as rig:
        for number in range(1, given.kills + 1):
            name = (given.only or list(KILLS))[(number - 1) % len(given.only or KILLS)]
            started = time.monotonic()
            try:
                alive[name] += KILLS[name](rig)
                nothing_left(rig)
                said = "held"
            except Broken as e:
                broken.append(f"kill {number} ({name}): {e}")
                said = f"BROKEN: {e}"
            done[name] += 1
            print(f"{number:4} {name:16} {time.monotonic() - started:5.1f} s  {said}", flush=True)
    return summary(done, alive, broken)


def summary(done: Mapping[str, int], alive: Mapping[str, int], broken: list[str]) -> int:
    for name, count in done.items():
        print(f"{name}: {count} kills, {alive[name]} of them before its end")
    print(f"{sum(done.values())} kills, {len(broken)} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
