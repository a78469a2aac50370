"""A project in one file, for a site without network: locks, derivations, artifacts, and the images themselves.

What the store lacks is built or fetched first. The file is a function of what it holds: bundled twice, here or
elsewhere, it is the same. Never resolves; ``unbundle`` reads what this writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..deriving.derivation import Artifact, ImageDerivation
from ..kernel.canonical import Json, canonical
from ..kernel.errors import InputError, StoreError
from ..kernel.outputs import check_place
from ..kernel.reporting import Reporter
from ..locks.nouns import Lock
from ..store import Store
from ..store.realisations import hexadecimal
from . import tarball
from .format import INDEX, BundledImage, Entry, Index, path_of
from .layout import gone, needed
from .modules import modules_json
from .tarball import Member, member

if TYPE_CHECKING:
    from ..planning.plan import Plan
    from ..planning.workspace import Workspace
    from ..remote.cache import RemoteCache
    from ..store.built import BuiltImage

__all__ = ["Bundled", "bundle_plan", "write_bundle"]


@dataclass(frozen=True, slots=True)
class Bundled:
    """A bundle: its ``size`` in bytes, its own ``sha256`` in hex, and what is in it."""

    path: Path
    size: int
    sha256: str
    index: Index


def bundle_plan(
    workspace: Workspace,
    plan: Plan,
    store: Store,
    path: Path,
    reporter: Reporter,
    *,
    images: bool = True,
    artifacts: bool = True,
    jobs: int | None = None,
    shared: RemoteCache | None = None,
    pin: bool = True,
) -> Bundled:
    """Write everything that ``plan``'s images are made of to ``path``, and the ``images``, which are built if need be
    (and, with ``pin``, pinned).

    Without ``artifacts`` the other site can use the images and not make them; without ``images`` it makes them. Layers
    of registry bases, which nobody can make, are always there; those, and what a cache knows, are pulled by ``shared``
    where the store lacks them. Raises what building and fetching raise,
    :class:`InputError` where nothing is asked for or ``path`` is something else than an archive, and
    :class:`StoreError`.
    """
    from ..building.images import build_plan, supply_sealed
    from ..building.pins import record_pins
    from ..sources.fetching import fetch
    from ..sources.locators import project_locator

    if not images and not artifacts:
        raise InputError("expected a bundle of images, of artifacts, or of both; found neither asked for")
    tarball.check_target(path, "a bundle")
    check_place(path)
    derivations = [image.derivation for image in plan.images]
    environments = [workspace.project.environments[name] for name in dict.fromkeys(d.environment for d in derivations)]
    built: list[BuiltImage] | None = None
    if images or any(store.blob(digest) is None for d in derivations for digest in _base_blobs(d)):
        built = build_plan(workspace, plan, store, reporter, jobs, shared)
        if pin:
            record_pins(workspace, built, reporter)
    locks = workspace.locks(environments)
    if artifacts:
        recipes, root = workspace.recipes(environments), workspace.project.root
        supply_sealed(derivations, recipes, locks, root, store, reporter, None)
        locator = project_locator(recipes, locks, root, store=store)
        wanted = {sha256: a for d in derivations for sha256, a in d.artifacts.items()}
        fetch(wanted.values(), store, locator=locator, reporter=reporter)
    modules = None if artifacts else _modules(workspace, derivations, locks, store, reporter)
    _warn_of_pins(derivations, locks, reporter)
    return write_bundle(store, derivations, locks, built if images else None, path, reporter, modules=modules)


def write_bundle(
    store: Store,
    derivations: Sequence[ImageDerivation],
    locks: Mapping[str, Lock],
    built: Sequence[BuiltImage] | None,
    path: Path,
    reporter: Reporter,
    *,
    modules: Mapping[str, Iterable[str]] | None = None,
) -> Bundled:
    """Write a bundle of what ``store`` has; ``built`` are the images of ``derivations``, ``None`` to leave them out.

    ``modules``: the modules of wheels by their SHA-256; they take the place of the artifacts. Raises
    :class:`StoreError` where something is missing or damaged, or the disk refuses; then ``path`` is as it was.
    """
    path = path.absolute()
    with store.reading():
        made = {(b.environment, b.platform): b.manifest_digest for b in built or ()}
        images = [
            BundledImage(d.environment, d.platform, d.hash, made.get((d.environment, d.platform))) for d in derivations
        ]
        found = {m.path: m for m in _members(store, derivations, locks, built, modules)}
        index = Index.of(images, [Entry(m.path, m.size, m.sha256) for m in found.values()])
        members = [member(INDEX, index.to_bytes()), *(found[entry.path] for entry in index.entries)]
        sha256 = tarball.write(path, members, reporter, f"write {path.name}")
    return Bundled(path, tarball.total(members), sha256, index)


def _members(
    store: Store,
    derivations: Sequence[ImageDerivation],
    locks: Mapping[str, Lock],
    built: Sequence[BuiltImage] | None,
    modules: Mapping[str, Iterable[str]] | None,
) -> Iterator[Member]:
    for environment, lock in locks.items():
        yield member(path_of("locks", environment), lock.text().encode())
    for sha256, names in (modules or {}).items():
        yield member(path_of("modules", sha256), modules_json(names))
    blobs: dict[str, str] = {}
    for d in derivations:
        yield member(path_of("derivations", hexadecimal(d.hash)), canonical(cast(Json, dict(d.spec))))
        if modules is None:
            for artifact in d.artifacts.values():
                yield _artifact(store, d, artifact)
        blobs |= dict.fromkeys(_base_blobs(d), d.environment)
    for image in built or ():
        blobs |= dict.fromkeys(needed(store, image.manifest_digest), image.environment)
    for digest, environment in blobs.items():
        found = store.blob(digest)
        if found is None:
            raise gone(environment, digest)
        size, sha256 = found.stat().st_size, hexadecimal(digest)
        yield Member(path_of("blobs", sha256), size, sha256, found, store.root, environment)


def _artifact(store: Store, image: ImageDerivation, artifact: Artifact) -> Member:
    found = store.artifact(artifact.sha256, artifact.size)
    if found is None:
        raise StoreError(
            f"{image.environment}: expected {artifact.file} (SHA-256 {artifact.sha256}) in the store, found none",
            hint="something removed it meanwhile: run this again",
        )
    path = path_of("artifacts", artifact.sha256)
    return Member(path, artifact.size, artifact.sha256, found, store.root, artifact.file)


def _base_blobs(image: ImageDerivation) -> list[str]:
    """The digests of what a registry base brings to ``image``: they come from nowhere else."""
    found = [str(layer.spec["digest"]) for layer in image.layers if layer.kind == "base"]
    verbatim = image.spec.get("verbatim")
    if isinstance(verbatim, dict):
        found += [str(cast("dict[str, Json]", verbatim[key])["digest"]) for key in ("manifest", "config")]
    return found


def _modules(
    workspace: Workspace,
    derivations: Sequence[ImageDerivation],
    locks: Mapping[str, Lock],
    store: Store,
    reporter: Reporter,
) -> Mapping[str, Iterable[str]]:
    """What checks will ask about the wheels, where there will be neither the wheels nor an index to ask."""
    from ..planning.checks import Contents
    from ..sources.locators import project_locator

    wheels = {w.sha256: w for d in derivations for w in locks[d.environment].platforms[d.platform].wheels}
    recipes = {name: workspace.project.environments[name].recipe for name in locks}
    locator = project_locator(recipes, locks, workspace.project.root)
    return Contents(store.root, store, locator, reporter)(list(wheels.values()))


def _warn_of_pins(derivations: Sequence[ImageDerivation], locks: Mapping[str, Lock], reporter: Reporter) -> None:
    for d in derivations:
        pin = locks[d.environment].pins.get(d.platform)
        if pin is None or pin.derivation != d.hash:
            reporter.warn(
                f"{d.environment} on {d.platform} is not pinned: at the other site `flyte-build build --locked` will "
                "refuse it; build it here first"
            )
