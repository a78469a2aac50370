"""``serve --on``: an app environment on a cluster, with the apps that it depends on, until somebody ends it.

Images are made ready and pushed as for a run there, and the same is refused before anything is made. Never prints.
"""

from __future__ import annotations

import hashlib
import secrets
import threading

from ..kernel.patience import patiently
from ..kernel.scratch import scratch
from ..project.apps import bundle_of
from ..project.nouns import Environment
from ..submit.kubernetes.keeping import keeper_job
from ..submit.kubernetes.mirror import Mirror
from ..submit.kubernetes.needs import Needs
from ..submit.kubernetes.serving import Served, serve_away
from ..submit.kubernetes.stored_tasks import BUNDLES
from ..submit.loop import run_apart
from .apps import on_cluster
from .driver_image import driver_platforms, driver_reference
from .foreseeing import refuse_apps
from .on_target import pushed_for
from .opened import OpenProject
from .pull_logins import refuse_pull_logins
from .serving import Audience, ServeOptions, app_named
from .sidecars import pinned
from .submitting import connected_to, for_cluster, storage_of
from .targeting import target as target_named

__all__ = ["serve_on"]


def serve_on(
    bench: OpenProject, name: str | None, on: str, options: ServeOptions, audience: Audience, stop: threading.Event
) -> None:
    """Serve the app ``name`` on the target ``on`` until ``stop`` is set; its URL is the cluster's own.

    ``options`` may have caches, ``check`` and ``locked``. Raises what making ready and pushing raise,
    :class:`LockError` for an image of a pod template that is not locked, and :class:`RunError` for an app that would
    never run there, or does not answer.
    """
    environment = app_named(bench.environments, name)
    settings = bench.settings(caches=options.caches)
    target = target_named(on, settings)
    cluster, mirror = connected_to(target), storage_of(target)
    settings = for_cluster(settings, target, cluster)
    reached = bench.workspace.environments([environment.name])
    pushed = pushed_for(bench, reached, settings, locked=options.locked, check=options.check)
    references, needs = pushed.references, pushed.needs
    refuse_pull_logins(cluster, target, settings, references.values())
    apps = on_cluster(bench, reached, references)
    pins = pinned(bench.workspace, [one for one in reached if one.app is not None])
    refuse_apps(cluster, target, apps, references, pins, needs)
    label = f"serve-{environment.name}-{secrets.token_hex(4)}"
    image = driver_reference(settings, bench.reporter)
    keeper = keeper_job(label, image, target, Needs(driver_platforms(settings.platforms)))
    code = _stored(bench, environment, mirror)
    images = {reference.rpartition("@")[2]: reference for reference in references.values()}
    served = Served(label, apps, environment.name, images, needs, code, keeper, pins)
    with patiently("what is served is ended"):
        run_apart(
            serve_away(
                cluster, mirror, target, served, audience.ready, audience.printed, bench.reporter.note, stop
            )
        )  # fmt: skip


def _stored(bench: OpenProject, environment: Environment, mirror: Mirror) -> str:
    """Put the app's code where runs' code is: its URI."""
    with scratch() as folder:
        with bench.modules.entered():
            bundle = bundle_of(bench.workspace.project, environment, folder)
        data = bundle.read_bytes()
    key = f"{BUNDLES}/{hashlib.sha256(data).hexdigest()}.tgz"

    async def put() -> None:
        if not await mirror.has(key):
            await mirror.put(key, data)

    run_apart(put())
    return f"{mirror.url}/{key}"
