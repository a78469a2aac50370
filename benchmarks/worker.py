"""What is measured runs here, each in a fresh process: ``python -m benchmarks.worker floor|transcode|build|push …``.

Prints one line of JSON. For ``floor`` and ``transcode`` the clock runs inside, around the work alone; a ``build``
or ``push`` is timed from outside, interpreter and imports included. Imports nothing that the work itself does not need.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from flyte_build.assemble.blob import Inflate

__all__ = ["main"]


def _since(started: tuple[float, float]) -> dict[str, object]:
    return {"wall": time.perf_counter() - started[0], "cpu": time.process_time() - started[1]}


def _start() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _floor(*wheels: str) -> dict[str, object]:
    from isal import isal_zlib

    from .transcode import floor, streams

    paths = [Path(wheel) for wheel in wheels]
    members = streams(paths, [os.open(path, os.O_RDONLY) for path in paths])
    started = _start()
    floor(members, isal_zlib)
    return _since(started)


def _transcode(lockfiles: str, environment: str, wheels: str, scratch: str, verify: str) -> dict[str, object]:
    """The layers of a lock's wheels, one after the other, into files below ``scratch``; ``verify``: RECORD's hashes."""
    from isal import isal_zlib

    # What the work imports when it comes to it, in a build beside the core: imports are not what is measured.
    for name in ("archive", "layer", "wheel"):
        importlib.import_module(f"flyte_build.assemble.{name}")
    from flyte_build.locks import lockfile
    from flyte_build.native import core, write_layer

    from .derived import derivation

    lock = lockfile.read(Path(lockfiles), environment)
    assert lock is not None
    image = derivation(lock)
    where = {a.sha256: os.path.join(wheels, a.file) for layer in image.layers for a in layer.artifacts}
    layers = [layer for layer in image.layers if layer.kind == "wheels"]
    inflate = cast("Inflate", isal_zlib)
    options: dict[str, Any] = {"scratch": scratch, "inflating": lambda: inflate, "verify": verify == "verify"}
    started = _start()
    made = []
    for number, layer in enumerate(layers):
        with open(os.path.join(scratch, f"{number}.blob"), "wb", buffering=0) as out:
            made.append(write_layer(layer.spec, where.__getitem__, out, **options))
    took = _since(started)
    facts = {
        "assembler": str(core()),
        "layers": len(made),
        "blob": sum(r.size for r in made),
        "tar": sum(r.diff_size for r in made),
    }
    return {**took, **facts, "files": sum(len(r.listing) for r in made)}


def _build(lockfiles: str, environment: str, store: str) -> dict[str, object]:
    """The lock's image in the store, whose artifacts are all there."""
    from flyte_build.building.building import build
    from flyte_build.kernel.reporting import Silent
    from flyte_build.locks import lockfile
    from flyte_build.sources.locators import FileLocator
    from flyte_build.store import Store

    from .derived import derivation

    lock = lockfile.read(Path(lockfiles), environment)
    assert lock is not None
    (made,) = build([derivation(lock)], Store(Path(store)), locator=FileLocator([]), reporter=Silent())
    fresh = [layer.title for layer in made.layers if not layer.reused]
    return {"digest": made.manifest_digest, "size": made.size, "reused": made.reused, "fresh": fresh}


def _push(lockfiles: str, stores: str, wheels: str, registry: str, cache: str) -> dict[str, object]:
    """All locks' images into ``registry``, made of files in ``wheels`` where neither store nor ``cache`` has them.

    The locks alone are read: no user's file, no SDK.
    """
    from flyte_build.building.building import build
    from flyte_build.kernel.reporting import Silent
    from flyte_build.locks import lockfile
    from flyte_build.remote.connecting import connected
    from flyte_build.remote.pushing import push_built
    from flyte_build.remote.target import Target
    from flyte_build.settings import Settings
    from flyte_build.sources.locators import FileLocator
    from flyte_build.store import Store

    from .derived import derivation

    found = [lockfile.read(Path(lockfiles), path.stem) for path in sorted(Path(lockfiles).glob("*.json"))]
    images, store, silent = [derivation(lock) for lock in found if lock is not None], Store(Path(stores)), Silent()
    settings = Settings(registry=registry, cache=(cache,) if cache else ())
    with connected(settings, silent) as shared:
        reading, writing = shared.registry(patient=False), shared.registry(patient=True)
        target = Target.of(settings, writing, (), shared, reading)
        locator = FileLocator(Path(wheels).iterdir())
        built, pushed = push_built(
            lambda: build(images, store, locator=locator, reporter=silent, remote=shared, local=False),
            store, target, shared, silent,
        )  # fmt: skip
    return {"digests": {p.environment: p.digest for p in pushed}, "reused": all(image.reused for image in built)}


def main(argv: list[str]) -> int:
    works: dict[str, Callable[..., dict[str, object]]] = {
        "floor": _floor,
        "transcode": _transcode,
        "build": _build,
        "push": _push,
    }
    print(json.dumps(works[argv[0]](*argv[1:])))
    return 0


if __name__ == "__main__":
    import gc

    from flyte_build.kernel.exiting import leave

    # As our commands begin (`flyte_build.cli.entry`), and as they end: taking the interpreter apart is no part of them.
    gc.set_threshold(50_000, 20, 20)
    leave(main(sys.argv[1:]))
