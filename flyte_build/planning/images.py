"""Environments → the plan of their images, against the store of this machine and the caches that are shared.

Reads locks and local files, asks what is cached. Never builds, never fetches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ..kernel import tracing
from ..kernel.canonical import Json
from ..kernel.errors import InputError
from ..locks.nouns import Lock
from ..locks.runtimes import runtime_notes
from ..project.nouns import Environment
from ..store import Store, layout
from .plan import CachedLayer, Plan, make_plan
from .workspace import Workspace

if TYPE_CHECKING:
    from ..remote.cache import RemoteCache

__all__ = ["StoreCache", "plan_images", "pushed_platforms"]


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
    :class:`flyte_build.kernel.errors.LockError` when a lock is missing or stale.
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
    plan = make_plan(derivations, StoreCache(store), _notes(locks), shared)
    for image in plan.images:
        tracing.tell("plan", f"{image.environment} {image.platform}: {image.state}, {image.why}")
    return plan


def pushed_platforms(environments: Sequence[Environment], asked: str | None, allowed: Sequence[str]) -> list[str]:
    """The platforms to push: ``asked``, else all that the images are for, or those of them that are ``allowed`` (all,
    where that is empty).

    Raises :class:`InputError` where an environment's image would be pushed for none.
    """
    if asked not in (None, "all"):
        wanted: list[str] = [str(asked)]
    else:
        known: list[str] = list(dict.fromkeys(p for e in environments for p in e.recipe.platforms))
        wanted = [p for p in known if not allowed or p in allowed]
    for e in environments:
        if not set(wanted) & set(e.recipe.platforms):
            raise InputError(
                f"environment {e.name} is for {', '.join(e.recipe.platforms)}, and to push is "
                f"{asked if asked not in (None, 'all') else ', '.join(allowed)}",
                hint="name another (--platform, or `platforms` in [tool.flyte-build]), or give the image that platform",
            )
    return wanted


def _notes(locks: Mapping[str, Lock]) -> list[str]:
    apart = [f"{name} was solved apart: {lock.apart}" for name, lock in locks.items() if lock.apart]
    return [*apart, *runtime_notes(locks)]
