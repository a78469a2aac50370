"""The stages joined: plan → images → registry, and a project that is locked when it was never locked before.

The workbench's verbs call these functions. No rule of its own: planning decides, building builds, remote pushes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..building.images import build_plan
from ..kernel.errors import RegistryError
from ..kernel.reporting import Reporter
from ..locks.runtimes import runtime_notes
from ..planning.images import plan_images, pushed_platforms
from ..planning.plan import Plan
from ..planning.workspace import Workspace
from ..project.nouns import Environment
from ..store import Store
from ..store.built import BuiltImage

if TYPE_CHECKING:
    from ..locks.nouns import Lock
    from ..registry.client import Registry
    from ..remote.cache import RemoteCache
    from ..remote.publishing import PushedImage
    from ..settings import Settings
    from ..supply.attaching import Attached
    from ..supply.foreseen import Foreseen

__all__ = ["build_pinned", "ensure_locked", "publish_images", "push_plan", "push_soci"]


def build_pinned(
    workspace: Workspace,
    plan: Plan,
    store: Store,
    reporter: Reporter,
    shared: RemoteCache,
    *,
    jobs: int | None = None,
    locked: bool = False,
    pin: bool = True,
) -> list[BuiltImage]:
    """Build what the plan lacks and, with ``pin``, pin what came of it; ``locked``: accept only what is pinned.

    Raises :class:`PinError`, and what building raises.
    """
    from ..building.pins import check_pins, check_planned, record_pins

    if locked:
        check_planned(workspace, [image.derivation for image in plan.images], store)
    built = build_plan(workspace, plan, store, reporter, jobs, shared)
    check_pins(workspace, built, strict=locked, store=store)
    if pin and not locked:
        record_pins(workspace, built, reporter)
    return built


def push_plan(
    workspace: Workspace,
    plan: Plan,
    store: Store,
    settings: Settings,
    reporter: Reporter,
    shared: RemoteCache,
    *,
    tags: Sequence[str] = (),
    jobs: int | None = None,
    local: bool = False,
    locked: bool = False,
    attest: bool = True,
) -> tuple[list[BuiltImage], list[PushedImage], list[Attached] | None]:
    """Build what the plan lacks, and push it all to the registry of ``settings``; written to its cache, too.

    Layers that a registry has are not downloaded, unless they are wanted here (``local``). What was pushed is pinned in
    the locks, unless the settings pin nothing, or they are ``locked``: then nothing is sent that is not what they pin.
    SBOMs and provenance are attached (``attest``), and all is signed where the settings have a key. The last that it
    gives is what lies beside the images then, ``None`` where a registry refused it. Raises
    :class:`InputError` where they name no registry, :class:`PinError`, and what building and pushing raise.
    """
    from ..building.pins import check_pins, check_planned, record_pins
    from ..remote.pushing import push_built
    from ..remote.target import Target

    reading, writing = shared.registry(patient=False), shared.registry(patient=True)
    target = Target.of(settings, writing, tuple(dict.fromkeys(tags)), shared, reading)
    for image in plan.images:
        target.repository(image.environment)
    if locked:
        check_planned(workspace, [image.derivation for image in plan.images], store)

    def check(images: list[BuiltImage]) -> None:
        check_pins(workspace, images, strict=locked, store=store)
        if attest:
            from ..supply.artifact_metadata import StoredFacts

            StoredFacts(store).read(a.source for i in plan.images for a in i.derivation.artifacts.values())

    with ExitStack() as ending:
        foreseen: Foreseen | None = None

        def sending(images: list[BuiltImage]) -> None:
            nonlocal foreseen
            if attest and images:
                from ..supply.attaching import foresee
                from ..supply.foreseen import Foreseen

                if foreseen is None:
                    foreseen = ending.enter_context(Foreseen(store))
                foresee(images, _locks(workspace, images), store, foreseen, writing, target.repository)

        built, pushed = push_built(
            lambda: build_plan(workspace, plan, store, reporter, jobs, shared, local=local),
            store,
            target,
            shared,
            reporter,
            check,
            sending,
        )
        if not locked and settings.pin != "never":
            record_pins(workspace, built, reporter)
        attached = _attached(workspace, pushed, store, writing, reporter, foreseen) if attest else []
    if settings.sign_key is not None:
        from ..supply.signing import sign_pushed

        sign_pushed(pushed, settings.sign_key, writing)
    return built, pushed, attached


def _attached(
    workspace: Workspace,
    pushed: list[PushedImage],
    store: Store,
    registry: Registry,
    reporter: Reporter,
    foreseen: Foreseen | None,
) -> list[Attached] | None:
    """What lies beside ``pushed`` once the documents are attached; ``None`` where the registry refused them."""
    from ..supply.attaching import attach

    try:
        return attach(pushed, _locks(workspace, pushed), store, registry, reporter, foreseen=foreseen)
    except RegistryError as e:
        # The images are there, and what was asked for is done; some registries take no such documents.
        reporter.warn(
            f"the images are pushed, but their SBOMs and provenance could not be attached: {e.message}; where the "
            "registry takes no artifacts or referrers, or its tags are immutable, push with --no-attest and keep "
            "the documents with `flyte-build sbom`"
        )
        return None


def _locks(workspace: Workspace, images: Sequence[BuiltImage] | Sequence[PushedImage]) -> Mapping[str, Lock]:
    """The locks of their environments, by name."""
    named = dict.fromkeys(image.environment for image in images)
    return workspace.locks([workspace.project.environments[name] for name in named])


def push_soci(
    pushed: Sequence[PushedImage], store: Store, settings: Settings, reporter: Reporter, shared: RemoteCache
) -> list[PushedImage]:
    """Push SOCI-enabled images beside ``pushed``, whose layers the store has, and sign them where the settings have a
    key. Raises :class:`RegistryError`."""
    from ..soci import push_indexed

    writing = shared.registry(patient=True)
    indexed = push_indexed(pushed, store, writing, reporter)
    if settings.sign_key is not None:
        from ..supply.signing import sign_pushed

        sign_pushed(indexed, settings.sign_key, writing)
    return indexed


def publish_images(
    workspace: Workspace,
    environments: Sequence[Environment],
    store: Store,
    settings: Settings,
    reporter: Reporter,
    *,
    platform: str | None = None,
    tags: Sequence[str] = (),
    jobs: int | None = None,
    force: bool = False,
    locked: bool = False,
    attest: bool = True,
) -> list[PushedImage]:
    """Plan these environments' images, build what is missing, and push them: what ``flyte-build push`` does.

    ``platform``: one of theirs (default: see :func:`pushed_platforms`). ``force``: believe no shared cache, and build
    what the store lacks. The rest, and what is raised, as :func:`push_plan`, besides what planning raises.
    """
    from ..remote.connecting import connected

    wanted = pushed_platforms(environments, platform, settings.platforms)
    with connected(settings, reporter) as shared:
        if force:
            shared.doubt_all()
        plan = plan_images(workspace, environments, store, shared=shared, platforms=wanted)
        for note in runtime_notes(workspace.locks(environments)):
            reporter.note(note)
        return push_plan(
            workspace, plan, store, settings, reporter, shared, tags=tags, jobs=jobs, locked=locked, attest=attest
        )[1]


def ensure_locked(
    workspace: Workspace, environments: Sequence[Environment], reporter: Reporter, *, write: bool, store: Store
) -> None:
    """Lock the environments that have no lock at all, and say so; stale locks are left to :func:`plan_images`.

    With ``write`` false nothing is written, and a missing lock is an error.
    """
    new = [e for e in environments if workspace.without_lock([e])]
    if not write or not new:
        return
    from .locking import lock_environments

    reporter.note(f"no lock yet: locking {', '.join(e.name for e in new)} in {workspace.lockfiles}")
    for note in lock_environments(workspace, new, store, reporter).notes:
        reporter.note(note)
