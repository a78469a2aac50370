"""The arrows of the design, joined: workspace → plan → images → registry, against the store of this machine.

The CLI calls these functions, and so can a script. No rule of its own: planning decides, building builds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from .building import BuiltImage, build
from .canonical import Json
from .errors import InputError
from .locking.lock import Lock, LockedDeb
from .planning.plan import CachedLayer, Plan, make_plan
from .reporting import Reporter
from .sdk import Environment
from .store import Store, layout
from .workspace import Workspace

if TYPE_CHECKING:
    from .remote.cache import RemoteCache
    from .remote.publish import PushedImage
    from .settings import Settings

__all__ = [
    "StoreCache",
    "build_plan",
    "ensure_locked",
    "plan_images",
    "publish_images",
    "push_plan",
    "pushed_platforms",
]


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
    workspace: Workspace,
    environments: Sequence[Environment],
    store: Store,
    platform: str | None = None,
    shared: RemoteCache | None = None,
    *,
    platforms: Sequence[str] | None = None,
) -> Plan:
    """The plan of these environments' images on ``platform`` (``None``: this machine's; ``all``: every one).

    ``platforms``, where given, are those instead. ``shared`` is asked about what the store lacks. Raises
    :class:`flyte_build.errors.LockError` when a lock is missing or stale.
    """
    workspace.recipes(environments)
    locks = workspace.locks(environments)
    derivations = [
        d
        for wanted in platforms or workspace.platforms(environments, platform)
        for d in workspace.derivations(environments, locks, wanted)
    ]
    if shared is not None:
        pins = [(d.hash, locks[d.environment].pins.get(d.platform)) for d in derivations]
        shared.expect({derivation: pin.digest for derivation, pin in pins if pin and pin.derivation == derivation})
    return make_plan(derivations, StoreCache(store), _notes(locks), shared)


def pushed_platforms(environments: Sequence[Environment], asked: str | None, settings: Settings) -> list[str]:
    """The platforms to push: ``asked``, else all that the images are for, or those of them that the settings name.

    Raises :class:`InputError` where an environment's image would be pushed for none.
    """
    if asked not in (None, "all"):
        wanted: list[str] = [str(asked)]
    else:
        known: list[str] = list(dict.fromkeys(p for e in environments for p in e.recipe.platforms))
        wanted = [p for p in known if not settings.platforms or p in settings.platforms]
    for e in environments:
        if not set(wanted) & set(e.recipe.platforms):
            raise InputError(
                f"environment {e.name} is for {', '.join(e.recipe.platforms)}, and to push is "
                f"{asked if asked not in (None, 'all') else ', '.join(settings.platforms)}",
                hint="name another (--platform, or `platforms` in [tool.flyte-build]), or give the image that platform",
            )
    return wanted


def _notes(locks: Mapping[str, Lock]) -> list[str]:
    return [f"{name} was solved apart: {lock.apart}" for name, lock in locks.items() if lock.apart]


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
    from .locators import project_locator

    locks = workspace.locks([workspace.project.environments[i.environment] for i in plan.images])
    locator = project_locator(
        {e.name: e.recipe for e in workspace.project.environments.values() if not isinstance(e.wish, Exception)},
        locks,
        workspace.project.root,
    )
    built = build(
        [i.derivation for i in plan.images],
        store,
        locator=locator,
        reporter=reporter,
        jobs=jobs,
        remote=shared,
        bases=_bases(plan, locks),
        local=local,
    )
    if plan.to_build:
        _warn_of_scripts(plan, store, reporter)
    return built


def _bases(plan: Plan, locks: Mapping[str, Lock]) -> dict[str, str]:
    """Where the layers of registry bases lie: layer derivation → ``host/repository``."""
    found: dict[str, str] = {}
    for image in plan.images:
        base = locks[image.environment].platforms[image.platform].base
        if base is not None:
            found |= {x.hash: base.repository for x in image.derivation.layers if x.kind == "base"}
    return found


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
) -> tuple[list[BuiltImage], list[PushedImage]]:
    """Build what the plan lacks, and push it all to the registry of ``settings``; written to its cache, too.

    Layers that a registry has are not downloaded, unless they are wanted here (``local``). What was pushed is pinned in
    the locks, unless they are ``locked``: then nothing is sent that is not what they pin. SBOMs and provenance are
    attached (``attest``), and all is signed where the settings have a key. Raises :class:`InputError` where they name
    no registry, :class:`PinError`, and what building and pushing raise.
    """
    from .pins import check_pins, check_planned, record_pins
    from .remote.pushing import push_built
    from .remote.target import Target

    reading, writing = shared.registry(patient=False), shared.registry(patient=True)
    target = Target.of(settings, writing, tuple(dict.fromkeys(tags)), shared, reading)
    for image in plan.images:
        target.repository(image.environment)
    if locked:
        check_planned(workspace, [image.derivation for image in plan.images], store)
    built, pushed = push_built(
        lambda: build_plan(workspace, plan, store, reporter, jobs, shared, local=local),
        store,
        target,
        shared,
        reporter,
        lambda images: check_pins(workspace, images, strict=locked, store=store),
    )
    if not locked:
        record_pins(workspace, built, reporter)
    if attest:
        from .supply.attach import attach

        named = dict.fromkeys(image.environment for image in pushed)
        locks = workspace.locks([workspace.project.environments[name] for name in named])
        attach(pushed, locks, store, writing, reporter)
    if settings.sign_key is not None:
        from .supply.signing import sign_pushed

        sign_pushed(pushed, settings.sign_key, writing)
    return built, pushed


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
    from .remote.connecting import connected

    wanted = pushed_platforms(environments, platform, settings)
    with connected(settings, reporter) as shared:
        if force:
            shared.doubt_all()
        plan = plan_images(workspace, environments, store, shared=shared, platforms=wanted)
        return push_plan(
            workspace, plan, store, settings, reporter, shared, tags=tags, jobs=jobs, locked=locked, attest=attest
        )[1]


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
