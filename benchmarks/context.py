"""What every benchmark is given: where to keep things, how often to measure, and what to build."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import platformdirs

from flyte_build.locks import lockfile
from flyte_build.locks.lockfile import LockedDeb, LockedWheel
from flyte_build.store import Store

from .measure import Sample, command
from .peer import unavailable
from .sets import AMD64, EXAMPLE, ROOT, SETS, WheelSet, base_debs, clone, fill, locked, wheels_of

__all__ = ["CLI", "NO_PEERS", "WORKER", "Context"]

WORKER = (sys.executable, "-m", "benchmarks.worker")
CLI = (sys.executable, "-m", "flyte_build")
NO_PEERS = "peer not measured: --no-peers"


def default_cache() -> Path:
    """``$FLYTE_BUILD_BENCH_CACHE``, or beside the caches of other programs."""
    return Path(os.environ.get("FLYTE_BUILD_BENCH_CACHE") or platformdirs.user_cache_dir("flyte-build-benchmarks"))


@dataclass
class Context:
    """``cache`` keeps what is worth keeping (wheels, artifacts), ``scratch`` goes at the end, both on one file system.

    ``quick`` is for trying the benchmarks out: small synthetic wheels. Its numbers say nothing. Without ``peers`` our
    side is measured alone; both together need no network.
    """

    cache: Path
    scratch: Path
    rounds: int
    quick: bool
    peers: bool = True
    _counter: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def sets(self) -> dict[str, WheelSet]:
        return {_SYNTHETIC.name: _SYNTHETIC} if self.quick else SETS

    @property
    def wheels(self) -> Path:
        return self.scratch / "wheels" if self.quick else self.cache / "wheels"

    @cached_property
    def without_buildah(self) -> str | None:
        """Why whole images have no peer to be compared with, or ``None``."""
        return unavailable() if self.peers else NO_PEERS

    @property
    def real(self) -> bool:
        """Whether there are the Debian base and the example's images, which a network is needed for once."""
        return not self.quick or self.without_buildah is None

    @property
    def debs(self) -> tuple[LockedDeb, ...]:
        return base_debs() if self.real else ()

    def fetch(self, pins: Sequence[str]) -> list[Path]:
        """The wheels of ``pins``."""
        if self.quick:
            _synthesise(self.wheels)
        return wheels_of(pins, self.wheels)

    def lock(self, environment: str, pins: Sequence[str], *, base: bool = True) -> Path:
        """A folder with a lock of these pins for ``environment``."""
        folder = self.fresh("lock")
        lockfile.write(folder, locked(environment, self.fetch(pins), self.debs if base else ()))
        return folder

    def fresh(self, name: str) -> Path:
        """A new empty folder."""
        folder = self.scratch / f"{next(self._counter)}-{name}"
        folder.mkdir(parents=True)
        return folder

    # -- our stores --------------------------------------------------------------------------------

    def artifacts(self) -> Path:
        """A store that holds every artifact of the example and of the sets, and perhaps more."""
        folder = (self.cache if self.real else self.scratch) / "store"
        if self.real:
            command((*CLI, "build", str(EXAMPLE), "-q"), env={"FLYTE_BUILD_CACHE": str(folder)}, cwd=ROOT)
        for s in self.sets.values():
            # pip downloads no two versions of a package at one time.
            for pins in (s.pins, *map(s.after, s.changed)):
                fill(Store(folder), self.fetch(pins))
        return folder

    def with_base(self, artifacts: Path) -> Path:
        """A store with all artifacts in which the Debian base is built."""
        if not self.real:
            return artifacts
        folder = self.scratch / "with-base"
        if not folder.exists():
            clone(artifacts, folder, only_artifacts=True)
            self.build(self.lock("base", ()), "base", folder)
        return folder

    def cold(self, template: Path, *, only_artifacts: bool = False) -> Path:
        """A new store with what ``template`` has, whose bytes it shares."""
        folder = self.fresh("cold")
        clone(template, folder, only_artifacts=only_artifacts)
        return folder

    def build(self, lockfiles: Path, environment: str, store: Path) -> Sample:
        """Build an image in a process of its own."""
        return command((*WORKER, "build", str(lockfiles), environment, str(store)), cwd=ROOT)

    def example_wheels(self, artifacts: Path) -> dict[int, list[str]]:
        """The pins of the example's widest image by pip step; their wheels are put where the others are."""
        lock = lockfile.read(ROOT / "lockfiles", "multi_env")
        assert lock is not None
        steps: dict[int, list[str]] = {}
        for wheel in lock.platforms[AMD64].wheels:
            steps.setdefault(wheel.step, []).append(f"{wheel.name}=={wheel.version}")
            self._link(wheel, Store(artifacts))
        return steps

    def _link(self, wheel: LockedWheel, store: Store) -> None:
        target = self.wheels / wheel.file
        if not target.exists():
            shutil.copyfile(store.artifact_path(wheel.sha256), target)


def facts_of(sample: Sample) -> dict[str, object]:
    """What a worker printed."""
    found = json.loads(sample.output)
    assert isinstance(found, dict)
    return found


# -- synthetic wheels ------------------------------------------------------------------------------

_SYNTHETIC = WheelSet(
    "synthetic",
    ("bench-large==1.0", "bench-many==1.0", "bench-small==1.0"),
    {"a small wheel": ("bench-small==1.1",)},
    alone=("bench-large==1.0",),
)


def _synthesise(folder: Path) -> None:
    from tests.support.wheels import build_wheel

    if folder.exists():
        return
    folder.mkdir(parents=True)
    noise = random.Random(1)
    build_wheel(folder, "bench-large", files={"bench_large/data.bin": noise.randbytes(5 << 20)})
    build_wheel(folder, "bench-many", files={f"bench_many/m{i}.py": f"x = {i}\n" * 40 for i in range(200)})
    for version in ("1.0", "1.1"):
        build_wheel(folder, "bench-small", version, files={"bench_small.py": f"__version__ = {version!r}\n"})
