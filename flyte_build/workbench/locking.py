"""Environments → their locks, sealed steps and all: what ``lock`` does, and every command that locks first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from ..kernel.reporting import Reporter
from ..locks.directory import check_place
from ..planning.workspace import Workspace
from ..project.nouns import Environment
from ..recipe import Recipe
from ..settings import read_settings
from ..store import Store

if TYPE_CHECKING:
    from ..locking.project import LockReport

__all__ = ["check_environments", "lock_environments"]


def lock_environments(
    workspace: Workspace,
    environments: Sequence[Environment],
    store: Store,
    reporter: Reporter,
    *,
    resolver: Literal["uv", "pip-tools"] = "uv",
    cutoff: str | None = None,
    upgrade: bool | Sequence[str] = False,
    reseal: Sequence[str] = (),
    solving: Callable[[], object] | None = None,
) -> LockReport:
    """Lock ``environments``; see :meth:`flyte_build.workbench.Workbench.lock`, and what that raises."""
    from ..locking.project import lock_project
    from ..planning.overlaps import tell_overlaps
    from .configuring import Configuring
    from .dockerfiles import found_out
    from .sealing import Sealing
    from .sidecars import resolved
    from .source_builds import SourceBuilds

    check_place(workspace.lockfiles)
    # Before anything is written: a registry may refuse.
    companions = resolved(workspace, environments, anew=upgrade is True)
    root, recipes = workspace.project.root, workspace.recipes(environments)
    settings = read_settings(root)
    debian = Configuring(root, store, reporter, [one for recipe in recipes.values() for one in recipe.apt_secrets])
    sealing = Sealing(root, workspace.lockfiles, store, settings, reporter, tuple(reseal), debian.configures)

    def locked(recipes: Mapping[str, Recipe]) -> LockReport:
        sealed = bool(reseal) or any(recipe.sealed_steps or recipe.apt_packages for recipe in recipes.values())
        with SourceBuilds(recipes, workspace.lockfiles, root, store, settings, reporter) as build:
            return lock_project(
                recipes,
                workspace.lockfiles,
                resolver=resolver,
                cutoff=cutoff,
                cooldown=settings.exclude_newer,
                cooldowns=settings.exclude_newer_index,
                upgrade=upgrade,
                reporter=reporter,
                root=root,
                complete=sealing.complete if sealed else None,
                build=build,
                scripts=debian.wanted,
                others=tuple(workspace.project.environments),
                solving=solving,
                look=lambda locks: tell_overlaps(locks, recipes, root, reporter, refuse=settings.overlaps == "refuse"),
            )

    report = found_out(environments, root, store, reporter, locked, anew=upgrade is True)
    notes = companions.written(workspace.lockfiles)
    return replace(report, sealed=tuple(sealing.runs), notes=(*report.notes, *notes))


def check_environments(workspace: Workspace, environments: Sequence[Environment]) -> int:
    """How many there are, each with a lock that answers it; see :meth:`flyte_build.workbench.Workbench.check_locks`."""
    from .sidecars import pinned

    locks = workspace.locks(environments)
    pinned(workspace, environments)
    sealed = [e for e in environments if e.recipe.sealed_steps or e.recipe.apt_packages]
    for platform in dict.fromkeys(p for e in sealed for p in e.recipe.platforms if locks[e.name].platforms[p].seals):
        workspace.derivations(sealed, locks, platform)
    return len(environments)
