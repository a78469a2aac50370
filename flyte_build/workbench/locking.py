"""Environments → their locks, sealed steps and all: what ``lock`` does, and every command that locks first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from ..kernel.reporting import Reporter
from ..planning.workspace import Workspace
from ..project.nouns import Environment
from ..settings import read_settings
from ..store import Store

if TYPE_CHECKING:
    from ..locking.project import LockReport

__all__ = ["lock_environments"]


def lock_environments(
    workspace: Workspace,
    environments: Sequence[Environment],
    store: Store,
    reporter: Reporter,
    *,
    resolver: Literal["uv", "pip-tools"] = "uv",
    cutoff: str | None = None,
    cooldown: str | None = None,
    upgrade: bool | Sequence[str] = False,
    reseal: Sequence[str] = (),
) -> LockReport:
    """Lock ``environments``; see :meth:`flyte_build.workbench.Workbench.lock`, and what that raises."""
    from ..locking.project import lock_project
    from ..planning.overlaps import tell_overlaps
    from .sealing import Sealing
    from .source_builds import SourceBuilds

    root, recipes = workspace.project.root, workspace.recipes(environments)
    settings = read_settings(root)
    sealing = Sealing(root, workspace.lockfiles, store, settings, reporter, tuple(reseal))
    sealed = bool(reseal) or any(recipe.sealed_steps for recipe in recipes.values())
    with SourceBuilds(recipes, workspace.lockfiles, root, store, settings, reporter) as build:
        report = lock_project(
            recipes,
            workspace.lockfiles,
            resolver=resolver,
            cutoff=cutoff,
            cooldown=cooldown,
            upgrade=upgrade,
            reporter=reporter,
            root=root,
            complete=sealing.complete if sealed else None,
            build=build,
            others=tuple(workspace.project.environments),
            look=lambda locks: tell_overlaps(locks, recipes, root, reporter, refuse=settings.overlaps == "refuse"),
        )
    return replace(report, sealed=tuple(sealing.runs))
