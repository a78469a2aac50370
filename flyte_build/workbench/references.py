"""Environments → references by digest: locked if need be, built, pushed. What pins, hooks and the builder share.

Joins workspace, locks and pipeline, and holds the rules that only the plug-in has: where an image is pushed to, and
what happens to one that cannot be made hermetic. Never touches an SDK object, never prints.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from ..building.images import build_plan
from ..kernel.errors import InputError, RefusedError
from ..kernel.reporting import Reporter
from ..kernel.values import dataclass, replace
from ..locks.lockfile import lock_path, read
from ..planning.images import plan_images, pushed_platforms
from ..planning.workspace import Workspace, find_lockfiles
from ..project.nouns import Environment, Project
from ..recipe import Recipe
from ..settings import Settings
from ..store import Store
from .pipeline import ensure_locked, publish_images

__all__ = ["Published", "locked_as", "locked_only", "publish", "way_out"]

NO_REGISTRY = (
    'say where to: `registry = "registry.example/team"` below [tool.flyte-build] in pyproject.toml, or '
    "$FLYTE_BUILD_REGISTRY, or the image's own `flyte.Image.from_debian_base(registry=…)`, or `image.registry` in "
    "flyte's configuration"
)
_DELEGATE = (
    'leave it to flyte\'s own builder, unpinned: `policy = "delegate"` below [tool.flyte-build], or '
    "$FLYTE_BUILD_POLICY=delegate"
)


@dataclass(frozen=True, slots=True)
class Published:
    """``references``: environment → ``repository@sha256:…``; ``delegated``: what is left to the SDK, and why."""

    references: Mapping[str, str]
    delegated: Mapping[str, RefusedError]


def locked_only() -> bool:
    """Whether locks may not be written: ``$FLYTE_BUILD_LOCKED``, as ``--locked`` says on our own command line."""
    return os.environ.get("FLYTE_BUILD_LOCKED", "").lower() not in ("", "0", "false", "no")


def locked_as(recipe: Recipe, root: Path) -> str:
    """The name of an image that no environment has: that of any lock that answers it, else one made of what it asks
    for, so that its lock is never stale."""
    lockfiles = find_lockfiles(root)
    for path in sorted(lockfiles.glob("*.json")):
        lock = read(lockfiles, path.stem)
        if lock is not None and lock.answers(recipe):
            return path.stem
    return f"image-{recipe.fingerprint.removeprefix('sha256:')[:12]}"


def publish(
    project: Project,
    settings: Settings,
    reporter: Reporter,
    *,
    registries: Mapping[str, str | None],
    locked: bool,
    only: Collection[str] | None = None,
    force: bool = False,
    push: bool = True,
    check: bool = False,
    homeless: Literal["refuse", "leave"] = "refuse",
) -> Published:
    """Push the images of ``project`` (of the environments ``only``) and say where they are.

    ``registries``: environment → the registry it would have without ``settings.registry``. A project without any lock
    is locked first, all of it together, unless ``locked``; ``force`` believes no shared cache. Without ``push``, what
    the images would be called if they were pushed: they are built, and no registry is written to. ``check``:
    calls that would fail are refused first, or told, as the setting ``checks`` says. ``homeless``: what becomes of
    images that nothing says a registry for; those that are left are told about, and have no reference.

    Raises :class:`CheckError`, :class:`RefusedError` for an image that cannot be made hermetic (under the policy
    ``refuse``), :class:`InputError` without a registry, :class:`LockError` for stale locks, and what building and
    pushing raise.
    """
    workspace = Workspace(project, find_lockfiles(project.root))
    every = workspace.environments(project.environments) if only is None else [project.environments[n] for n in only]
    delegated = _delegated(every, settings, reporter)
    ours = [e for e in every if e.name not in delegated]
    homes = {e.name: settings.registry or registries.get(e.name) for e in ours}
    nowhere = [e for e in ours if homes[e.name] is None and not e.recipe.as_is]
    if homeless == "refuse":
        _refuse_homeless(nowhere)
    elif nowhere:
        reporter.warn(
            f"{_names(nowhere)}: left to flyte's own builder, unlocked: no registry to push to; {NO_REGISTRY}"
        )
        ours = [e for e in ours if e not in nowhere]
    if any(not lock_path(workspace.lockfiles, e.name).exists() for e in ours):
        readable = [e for e in project.environments.values() if isinstance(e.wish, Recipe)]
        ensure_locked(workspace, readable, reporter, write=not locked, store=Store())
    if check and settings.checks != "off":
        _check(workspace, ours, settings, reporter)
    references = _as_they_are(workspace, ours)
    groups: dict[str | None, list[Environment]] = {}
    for environment in ours:
        if environment.name not in references:
            groups.setdefault(homes[environment.name], []).append(environment)
    store = Store()
    for registry, environments in groups.items():
        home = replace(settings, registry=registry)
        if push:
            pushed = publish_images(workspace, environments, store, home, reporter, force=force, locked=locked)
            references |= {image.environment: image.reference for image in pushed}
        else:
            references |= _unpushed(workspace, environments, store, home, reporter, locked)
    return Published(references, delegated)


def _check(workspace: Workspace, environments: Sequence[Environment], settings: Settings, reporter: Reporter) -> None:
    from ..planning.checks import find, refuse

    findings = find(workspace, environments, Store(), reporter=reporter)
    if settings.checks == "refuse":
        refuse(findings)
        return
    for finding in findings:
        if finding.severity == "error":
            way = f"; {finding.hint}" if finding.hint else ""
            reporter.warn(f"{finding.file}:{finding.line}: {finding.message}{way}")


def _unpushed(
    workspace: Workspace,
    environments: Sequence[Environment],
    store: Store,
    settings: Settings,
    reporter: Reporter,
    locked: bool,
) -> dict[str, str]:
    from ..building.pins import check_pins
    from ..remote.connecting import connected
    from ..remote.publishing import references
    from ..remote.target import Target

    platforms = pushed_platforms(environments, None, settings.platforms)
    with connected(settings, reporter) as shared, store.reading():
        plan = plan_images(workspace, environments, store, shared=shared, platforms=platforms)
        built = build_plan(workspace, plan, store, reporter, shared=shared, local=False)
        check_pins(workspace, built, strict=locked, store=store)
        return references(built, store, Target.of(settings, shared.registry(patient=True)))


def _as_they_are(workspace: Workspace, environments: Sequence[Environment]) -> dict[str, str]:
    """The images that are a registry base with nothing added: they stay where they are, by digest."""
    found: dict[str, str] = {}
    for name, lock in workspace.locks([e for e in environments if e.recipe.as_is]).items():
        pinned = {locked.base.pinned for locked in lock.platforms.values() if locked.base is not None}
        if len(pinned) == 1:
            found[name] = pinned.pop()
    return found


def _delegated(environments: Sequence[Environment], settings: Settings, reporter: Reporter) -> dict[str, RefusedError]:
    """What is left to the SDK: what was refused, where the policy says so. Anything else that is wrong is raised."""
    left: dict[str, RefusedError] = {}
    for environment in environments:
        wish = environment.wish
        if isinstance(wish, Recipe):
            continue
        if not isinstance(wish, RefusedError):
            raise wish
        if settings.policy == "refuse":
            raise RefusedError(wish.message, hint=way_out(wish), detail=wish.detail)
        reporter.warn(
            f"{wish.message}: it is left to flyte's own builder (policy `delegate`), which names it by a tag: impure, "
            "neither locked nor reproducible"
        )
        left[environment.name] = wish
    return left


def way_out(error: RefusedError) -> str:
    """The hint of a refusal, with the policy as the last resort."""
    return f"{error.hint}; or {_DELEGATE}" if error.hint else _DELEGATE


def _refuse_homeless(environments: Sequence[Environment]) -> None:
    if environments:
        raise InputError(f"no registry to push to, for the image of {_names(environments)}", hint=NO_REGISTRY)


def _names(environments: Sequence[Environment]) -> str:
    return ", ".join(e.name for e in environments)
