"""``deploy --on``: tasks of a file, put into a target's storage, where every run there finds them by name.

Images are pushed as for a run. What nodes have to have for them is kept with the tasks, and sidecars of pod templates,
of tasks and of their apps, are named by digest, because a run that calls them has neither their locks nor their code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flyteidl2.task.task_definition_pb2 import TaskSpec

from ..project.nouns import Environment
from ..settings import read_settings
from ..submit.kubernetes.cluster_apps import ClusterApp
from ..submit.kubernetes.pod import SIDECARS
from ..submit.kubernetes.stored_tasks import StoredDeployments
from .apps import apps_by, on_cluster
from .foreseeing import refuse_apps
from .on_target import pushed_for
from .opened import OpenProject
from .shelf import Shelf, completed
from .sidecars import pinned
from .submitting import connected_to, for_cluster, storage_of
from .targeting import target as target_named

__all__ = ["deployments_on", "shelf_on"]


def shelf_on(
    on: str,
    bench: OpenProject,
    environments: Sequence[Environment],
    caches: Sequence[str],
    *,
    check: bool,
    locked: bool,
) -> Shelf:
    """That of the target ``on``, with the images of ``environments`` pushed. Raises what pushing raises, and
    :class:`RunError` for an app that would never be served there."""
    settings = bench.settings(caches=caches)
    target = target_named(on, settings)
    cluster = connected_to(target)
    settings = for_cluster(settings, target, cluster)
    pushed = pushed_for(bench, environments, settings, locked=locked, check=check)
    pins = json.loads(pinned(bench.workspace, environments).get(SIDECARS, "{}"))
    needs = {digest: one.to_json() for digest, one in pushed.needs.items()}
    served = [_by_digest(app, pins) for app in on_cluster(bench, environments, pushed.references)]
    refuse_apps(cluster, target, served, pushed.references, {}, pushed.needs)
    apps = apps_by(bench, environments, served)
    return Shelf(pushed.references, StoredDeployments(storage_of(target)).put, needs, pins, apps)


def _by_digest(app: ClusterApp, pins: Mapping[str, str]) -> ClusterApp:
    spec = completed(TaskSpec.FromString(app.spec), pins)
    return replace(app, spec=spec.SerializeToString(deterministic=True))


def deployments_on(on: str) -> StoredDeployments:
    """What was deployed to the target ``on`` of the working folder's settings."""
    return StoredDeployments(storage_of(target_named(on, read_settings(Path.cwd()))))
