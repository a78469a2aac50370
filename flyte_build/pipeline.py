"""The arrows of the design, joined: workspace → plan → images, against the store of this machine.

The CLI calls these functions, and so can a script. No rule of its own: planning decides, building builds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from .building import BuiltImage, build
from .canonical import Json
from .locking.lock import Lock, LockedDeb
from .planning.plan import CachedLayer, Plan, make_plan
from .reporting import Reporter
from .sdk import Environment
from .store import Store, layout
from .workspace import Workspace

__all__ = ["StoreCache", "build_plan", "plan_images"]


class StoreCache:
    """The store, as planning asks it (:class:`flyte_build.planning.plan.Cache`)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def cached_layer(self, derivation: str) -> CachedLayer | None:
        found = self._store.layer(derivation)
        return CachedLayer(found.digest, found.size) if found else None

    def cached_image(self, derivation: str) -> str | None:
        found = self._store.image(derivation)
        return found.manifest if found else None

    def has_artifact(self, sha256: str) -> bool:
        return self._store.artifact(sha256) is not None

    def last_image(self, environment: str, platform: str) -> Mapping[str, Json] | None:
        name = layout.ref_name(environment, platform)
        for entry in layout.manifests(self._store.index()):
            if layout.annotation(entry, layout.REF_NAME) == name:
                derivation = layout.annotation(entry, layout.DERIVATION)
                stored: Any = self._store.derivation(derivation) if derivation else None
                return cast("Mapping[str, Json]", stored["spec"]) if stored else None
        return None


def plan_images(
    workspace: Workspace, environments: Sequence[Environment], store: Store, platform: str | None = None
) -> Plan:
    """The plan of these environments' images on ``platform`` (``None``: this machine's; ``all``: every one).

    Raises :class:`flyte_build.errors.LockError` when a lock is missing or stale.
    """
    workspace.recipes(environments)
    locks = workspace.locks(environments)
    derivations = [
        d
        for wanted in workspace.platforms(environments, platform)
        for d in workspace.derivations(environments, locks, wanted)
    ]
    return make_plan(derivations, StoreCache(store), _notes(locks))


def _notes(locks: Mapping[str, Lock]) -> list[str]:
    return [f"{name} was solved apart: {lock.apart}" for name, lock in locks.items() if lock.apart]


def build_plan(
    workspace: Workspace, plan: Plan, store: Store, reporter: Reporter, jobs: int | None = None
) -> list[BuiltImage]:
    """Build what the plan lacks; the result has every image of the plan, in its order."""
    from .locators import project_locator

    locator = project_locator(
        {e.name: e.recipe for e in workspace.project.environments.values() if not isinstance(e.wish, Exception)},
        workspace.locks([workspace.project.environments[i.environment] for i in plan.images]),
        workspace.project.root,
    )
    built = build([i.derivation for i in plan.images], store, locator=locator, reporter=reporter, jobs=jobs)
    if plan.to_build:
        _warn_of_scripts(plan, store, reporter)
    return built


def _warn_of_scripts(plan: Plan, store: Store, reporter: Reporter) -> None:
    """Name the Debian packages asked for whose maintainer scripts do what nothing replaces: they are never run."""
    from .assemble.deb import read_control
    from .assemble.scripts import unhandled_scripts

    for image in plan.to_build:
        asked = [
            path
            for artifact in image.derivation.artifacts.values()
            if isinstance(artifact.source, LockedDeb)
            and not artifact.source.base
            and (path := store.artifact(artifact.sha256)) is not None
        ]
        for package, script in unhandled_scripts(read_control(path) for path in asked):
            reporter.warn(
                f"{image.environment}: {package}'s {script} script is not run, and does something that the image may "
                "lack; try what you need of it"
            )


def ensure_locked(
    workspace: Workspace, environments: Sequence[Environment], reporter: Reporter, *, write: bool
) -> None:
    """Lock a project that has no lock at all, and say so; a project with stale locks is left to :func:`plan_images`.

    With ``write`` false nothing is written, and a missing lock is an error.
    """
    if not write or not workspace.without_lock(environments):
        return
    from .locking.project import lock_project

    names = ", ".join(e.name for e in environments)
    reporter.note(f"no lock yet: locking {names} in {workspace.lockfiles}")
    report = lock_project(
        workspace.recipes(environments), workspace.lockfiles, reporter=reporter, root=workspace.project.root
    )
    for note in report.notes:
        reporter.note(note)
