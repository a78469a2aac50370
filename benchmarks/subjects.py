"""What is pushed: the example's images through the command line, or one of synthetic wheels through a worker.

Each is there twice, the second time with one package changed, as a store in which it is built and as the peer's OCI
layout. Only copies are worked on: a push writes pins into the locks. Never measures by itself.
"""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

from flyte_build.locks import lockfile
from flyte_build.store import Store, layout

from .context import CLI, WORKER, Context
from .measure import Sample, command
from .sets import AMD64, ROOT, fill, layout_of, locked_wheel

__all__ = ["Example", "Subject", "Synthetic"]


class Subject(ABC):
    """``built`` and ``changed``: stores with the images before and after; ``layout``, ``changed_layout`` likewise.

    ``built`` has the artifacts of both. ``images``: environment → its image's name in a layout. ``locks``: folders, by
    whether they are the changed ones.
    """

    name: str
    locks: dict[bool, Path]
    built: Path
    changed: Path
    layout: Path
    changed_layout: Path
    images: dict[str, str]

    @abstractmethod
    def prepare(self) -> None:
        """Make all of it."""

    @abstractmethod
    def push(self, store: Path, registry: str, *, cache: str | None = None, changed: bool = False) -> Sample:
        """Push the images as a user does, building what the store and the cache lack."""

    def push_locks(
        self, store: Path, registry: str, *, cache: str | None = None, changed: bool = False, wheels: Path = ROOT
    ) -> Sample:
        """The same of the locks alone: no user's file is read, nothing is checked, no SBOM and no provenance made."""
        words = (str(self.locks[changed]), str(store), str(wheels), registry, cache or "")
        return command((*WORKER, "push", *words), cwd=ROOT)


class Example(Subject):
    """The AF2 example for one platform; of its packages ruff changes, which two of three images have."""

    name = "the example's three images"
    CHANGE = "ruff==0.17.4"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._projects = {changed: context.fresh("project") for changed in (False, True)}
        self.locks = {changed: folder / "lockfiles" for changed, folder in self._projects.items()}

    def prepare(self) -> None:
        context, store = self._context, self._context.cache / "store"
        for folder in self._projects.values():
            for name in ("examples/af2", "lockfiles"):
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        self._build(store, changed=False)
        self.built = context.cold(store)
        [wheel] = context.fetch([self.CHANGE])
        fill(Store(self.built), [wheel])
        self._change(wheel)
        self.changed = context.cold(self.built)
        self.layout, self.changed_layout = context.fresh("layouts") / "before", context.fresh("layouts") / "after"
        self._build(self.built, "--output", f"oci:{self.layout}", changed=False)
        self._build(self.changed, "--output", f"oci:{self.changed_layout}", changed=True)
        names = sorted(path.stem for path in self.locks[False].glob("*.json"))
        self.images = {name: layout.ref_name(name, AMD64) for name in names}

    def push(self, store: Path, registry: str, *, cache: str | None = None, changed: bool = False) -> Sample:
        words = ("--cache", cache) if cache else ()
        return self._run("push", store, "--registry", registry, *words, changed=changed)

    def _build(self, store: Path, *more: str, changed: bool) -> None:
        self._run("build", store, *more, changed=changed)

    def _run(self, verb: str, store: Path, *more: str, changed: bool) -> Sample:
        quiet = {"FLYTE_BUILD_REGISTRY": "", "FLYTE_BUILD_REMOTE_CACHE": ""}
        where = {"FLYTE_BUILD_CACHE": str(store), "FLYTE_BUILD_STATE": str(self._context.scratch / "state")}
        return command(
            (*CLI, verb, "examples/af2/main.py", "--platform", AMD64, "-q", *more),
            env={**quiet, **where, "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))},
            cwd=self._projects[changed],
        )

    def _change(self, wheel: Path) -> None:
        """The other version in the second project's locks: as if locked again with it."""
        folder, new = self.locks[True], locked_wheel(wheel)
        for path in folder.glob("*.json"):
            lock = lockfile.read(folder, path.stem)
            assert lock is not None
            platform = lock.platforms[AMD64]
            wheels = tuple(replace(new, step=w.step) if w.name == new.name else w for w in platform.wheels)
            platforms = {**lock.platforms, AMD64: replace(platform, wheels=wheels)}
            lockfile.write(folder, replace(lock, platforms=platforms, pins={}))


class Synthetic(Subject):
    """An image of synthetic wheels, without a base; small, and made without a network."""

    name = "synthetic"

    def __init__(self, context: Context) -> None:
        self._context = context

    def prepare(self) -> None:
        context = self._context
        [wheels] = context.sets.values()
        [change] = wheels.changed
        pins = {False: wheels.pins, True: wheels.after(change)}
        self.locks = {changed: context.lock("synthetic", found, base=False) for changed, found in pins.items()}
        artifacts = context.artifacts()
        self.built, self.changed = (context.cold(artifacts, only_artifacts=True) for _ in range(2))
        context.build(self.locks[False], "synthetic", self.built)
        context.build(self.locks[True], "synthetic", self.changed)
        self.layout, self.changed_layout = (context.fresh("layouts") / name for name in ("before", "after"))
        self.images = {"synthetic": layout_of(self.built, self.layout)}
        layout_of(self.changed, self.changed_layout)

    def push(self, store: Path, registry: str, *, cache: str | None = None, changed: bool = False) -> Sample:
        return self.push_locks(store, registry, cache=cache, changed=changed, wheels=self._context.wheels)
