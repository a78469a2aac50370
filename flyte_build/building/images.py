"""A plan → its images: what :func:`flyte_build.building.building.build` needs besides, read off the project's locks.

Says where artifacts may be had and where bases' layers lie, and warns of what the images may lack. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..deriving.nouns import ImageDerivation, LayerDerivation
from ..kernel.reporting import Reporter
from ..locks.nouns import Lock, LockedDeb
from ..locks.seals import CONFIGURED
from ..planning.plan import Plan
from ..planning.workspace import Workspace
from ..settings import read_settings
from ..store import Store
from ..store.built import BuiltImage
from .building import build
from .repositories import base_repositories

if TYPE_CHECKING:
    from pathlib import Path

    from ..recipe import Recipe
    from ..remote.cache import RemoteCache
    from ..sources.places import Locator
    from .bytecode import Hosts

__all__ = ["build_plan", "supply_sealed", "warn_of_sizes"]


def build_plan(
    workspace: Workspace,
    plan: Plan,
    store: Store,
    reporter: Reporter,
    jobs: int | None = None,
    shared: RemoteCache | None = None,
    *,
    local: bool = True,
) -> list[BuiltImage]:
    """Build what the plan lacks; the result has every image of the plan, in its order.

    What ``shared`` knows is pulled instead; without ``local``, its layers stay where they are.
    """
    from ..sources.locators import project_locator

    locks = workspace.locks([workspace.project.environments[i.environment] for i in plan.images])
    recipes = {e.name: e.recipe for e in workspace.project.environments.values() if not isinstance(e.wish, Exception)}
    root, bases = workspace.project.root, base_repositories((i.derivation for i in plan.images), locks)

    supply_sealed([i.derivation for i in plan.to_build], recipes, locks, root, store, reporter, shared, jobs)
    built = build(
        [i.derivation for i in plan.images],
        store,
        locator=project_locator(recipes, locks, root, store=store),
        reporter=reporter,
        jobs=jobs,
        remote=shared,
        bases=bases,
        local=local,
        hosts=_hosts(locks),
    )
    if plan.to_build:
        _warn_of_scripts(plan, locks, store, reporter)
        warn_of_sizes(built, recipes, reporter)
    return built


def _hosts(locks: Mapping[str, Lock]) -> Hosts:
    """Who compiles modules for other platforms; few builds ask."""

    def hosts(image: ImageDerivation) -> Sequence[LayerDerivation]:
        from .bytecode import hosts_of

        return hosts_of(locks)(image)

    return hosts


def supply_sealed(
    images: Iterable[ImageDerivation],
    recipes: Mapping[str, Recipe],
    locks: Mapping[str, Lock],
    root: Path,
    store: Store,
    reporter: Reporter,
    shared: RemoteCache | None,
    jobs: int | None = None,
) -> None:
    """Run the sealed steps of ``images`` again whose layers neither ``store`` nor ``shared`` has, build the wheels that
    were built for their locks, and keep both among the artifacts. Raises :class:`SealError` for other bytes."""
    sealed = [image for image in images if made_elsewhere(image, recipes, locks)]
    if not sealed:
        return
    from ..sources.locators import project_locator
    from .sealed import Sealer, keeping, limits_of, supply
    from .wheels import supply_wheels

    bases, settings = base_repositories(sealed, locks), read_settings(root)

    def locator() -> Locator:
        return project_locator(recipes, locks, root, store=store)

    with keeping(store) as stages:
        limits = limits_of(settings)
        sealer = Sealer(store, root, locator, reporter, shared, bases, settings.seal_network, jobs, stages, limits)
        supply_wheels(sealed, recipes, locks, sealer)
        supply(sealed, recipes, locks, sealer)


def made_elsewhere(image: ImageDerivation, recipes: Mapping[str, Recipe], locks: Mapping[str, Lock]) -> bool:
    """Whether something of the image was made by programs, when it was locked."""
    part = locks[image.environment].platforms[image.platform]
    return bool(part.sealed_places(recipes[image.environment]) or part.builds)


def warn_of_sizes(built: Iterable[BuiltImage], recipes: Mapping[str, Recipe], reporter: Reporter) -> None:
    """Name the layers that were made now and are above the ceiling: those that could not be divided."""
    from ..kernel.quantities import size
    from ..recipe.conventions import LAYER_CEILING

    told: set[str] = set()
    for image in built:
        ceiling = recipes[image.environment].layer_ceiling or LAYER_CEILING
        for layer in image.layers:
            if layer.size > ceiling and not layer.reused and layer.kind != "base" and layer.digest not in told:
                told.add(layer.digest)
                reporter.warn(
                    f"{image.environment}: the layer `{layer.title}` has {size(layer.size)}, more than `layer-ceiling` "
                    f"({size(ceiling)}): only wheels are divided, between their files"
                )


def _warn_of_scripts(plan: Plan, locks: Mapping[str, Lock], store: Store, reporter: Reporter) -> None:
    """Name the Debian packages asked for whose maintainer scripts do what nothing replaces, where none was run."""
    from ..assemble.deb import read_control
    from ..assemble.scripts import unhandled_scripts

    for image in plan.to_build:
        if locks[image.environment].platforms[image.platform].seal(CONFIGURED) is not None:
            continue
        asked = [
            path
            for artifact in image.derivation.artifacts.values()
            if isinstance(artifact.source, LockedDeb)
            and not artifact.source.base
            and (path := store.sound(artifact.sha256, artifact.size, artifact.file)) is not None
        ]
        for package, script in unhandled_scripts(read_control(path) for path in asked):
            reporter.warn(
                f"{image.environment}: {package}'s {script} script is not run, and does something that the image may "
                "lack; try what you need of it"
            )
