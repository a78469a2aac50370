"""The ways to an image that run in this process: the store, the assembler, and steps as Nix and Bazel take them.

Each takes a project's lock and gives an OCI image layout; none knows what another one made.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from flyte_build.assemble import command as assembler
from flyte_build.assemble.image import canonical
from flyte_build.building.building import build
from flyte_build.deriving.derivation import Artifact
from flyte_build.deriving.from_lock import recorded_recipe
from flyte_build.kernel.canonical import Json
from flyte_build.kernel.reporting import Silent
from flyte_build.locks.nouns import Lock
from flyte_build.recipe import CopyFiles, Platform
from flyte_build.sources.locators import Locators
from flyte_build.sources.places import Place
from flyte_build.sources.project_files import LocalFiles
from flyte_build.stepwise import command as stepwise
from flyte_build.store import Store

from .images import Image
from .projects import Project

__all__ = ["ByHash", "Layers", "at_once", "in_steps", "stored", "write_plan"]

Layers = Callable[[Mapping[str, Json], str], Sequence[tuple[dict[str, Any], Sequence[str]]]]
"""Grouping: a lock, as JSON, and a platform → the spec of each layer of artifacts, and the SHA-256s that it needs."""


def stored(project: Project, lock: Lock, platform: Platform, folder: Path) -> Image:
    """As ``flyte-build build`` makes it: layers in a store, several at a time."""
    recipe = recorded_recipe(lock)
    locator = Locators(LocalFiles([recipe], project.root), ByHash(project.paths))
    store = Store(folder)
    (built,) = build([project.derivation(lock, platform)], store, locator=locator, reporter=Silent())
    return Image("the store", built.manifest_digest, store.oci)


class ByHash:
    """A locator of files: packages of two platforms have one name."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths

    def places(self, artifact: Artifact) -> Iterator[Place]:
        if artifact.source is not None:
            yield Place(self._paths[artifact.sha256].as_uri())

    def close(self) -> None:
        return None


def write_plan(project: Project, lock: Lock, platform: Platform, folder: Path) -> list[str]:
    """The assembler's arguments without OUT, ``folder`` holding the plan and where its artifacts are."""
    folder.mkdir(parents=True, exist_ok=True)
    plan, known = folder / "plan.json", folder / "map.json"
    plan.write_bytes(canonical(cast("dict[str, Any]", project.derivation(lock, platform).spec)))
    known.write_text(json.dumps({sha256: str(path) for sha256, path in project.known(lock).items()}))
    return [str(plan), "--map", str(known)]


def at_once(project: Project, lock: Lock, platform: Platform, folder: Path) -> Image:
    """``assemble PLAN OUT``."""
    plan, *options = write_plan(project, lock, platform, folder)
    digest = run(assembler.main, plan, folder / "out", *options)
    return Image("assemble PLAN", digest, folder / "out")


def in_steps(
    project: Project, lock: Lock, platform: Platform, folder: Path, layers: Layers, name: str = "steps"
) -> Image:
    """``assemble layer`` for each of ``layers``, ``stepwise files`` for each copy, and ``stepwise image``."""
    folder.mkdir(parents=True)
    file = project.lockfiles / f"{lock.environment}.json"
    arguments: list[str | Path] = []
    for i, (spec, artifacts) in enumerate(layers(lock.to_json(), platform)):
        path, out = folder / f"{i}.json", folder / str(i)
        path.write_text(json.dumps(spec))
        given = [word for sha256 in artifacts for word in ("--artifact", f"{sha256}={project.paths[sha256]}")]
        run(assembler.main, "layer", path, out, *given)
        arguments += ["--layer", out]
    for i, step in enumerate(recorded_recipe(lock).steps):
        if isinstance(step, CopyFiles):
            out = folder / f"files-{i}"
            run(stepwise.main, "files", file, platform, str(i), out, "--root", project.root)
            arguments += ["--files", f"{i}={out}"]
    digest = run(stepwise.main, "image", file, platform, folder / "out", *arguments)
    return Image(name, digest, folder / "out")


def run(main: Callable[[Sequence[str]], int], *arguments: str | Path) -> str:
    """What a command prints; it has to succeed."""
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        code = main([str(a) for a in arguments])
    assert code == 0, complained.getvalue()
    return said.getvalue().strip()
