"""``project.run(on=…)`` and ``project.submit``: a task call on a cluster. Images are made ready and pushed, what is
hopeless is found, and the run is handed to its driver.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..kernel.errors import InputError, RunError
from ..kernel.paths import targets_dir
from ..kernel.scratch import scratch
from ..kernel.values import dataclass, replace
from ..project.nouns import Task
from ..project.serializing import root_action
from ..settings import Settings
from ..submit.action import RootAction
from ..submit.deployed import DeployedTask
from ..submit.driving import new_name
from ..submit.kubernetes import away, reading
from ..submit.kubernetes.api import Cluster, connect
from ..submit.kubernetes.cluster_apps import ClusterApp
from ..submit.kubernetes.driver_job import driver_job
from ..submit.kubernetes.here import run_here
from ..submit.kubernetes.mirror import Mirror, mirror_of
from ..submit.kubernetes.needs import Needs
from ..submit.kubernetes.nodes import platforms
from ..submit.kubernetes.stored_tasks import StoredDeployments
from ..submit.kubernetes.submission import Submission, store_submission
from ..submit.kubernetes.target import Target
from ..submit.kubernetes.watching import JOBS
from ..submit.loop import run_apart
from ..submit.observer import Observer
from ..submit.storage import Storage
from .apps import on_cluster
from .by_name import own_tasks
from .code_strings import uncallable
from .driver_image import driver_platforms, driver_reference
from .foreseeing import doubtful, refuse_apps, refuse_hopeless, refuse_missing_template
from .image_needs import has_containers, refuse_lost_folders
from .on_target import pushed_for
from .opened import OpenProject
from .pull_logins import refuse_pull_logins
from .readiness import reached
from .running import Reported, RunOptions, invocation_of, root_of, uploaded
from .runs import Run
from .sidecars import pinned
from .targeting import target as target_named
from .unserved import unserved

__all__ = ["Submitted", "attend", "connected_to", "for_cluster", "run_on", "storage_of", "submit"]


@dataclass(frozen=True, slots=True)
class Submitted:
    """A run that was handed over: its ``name``, and the ``target`` that it runs on."""

    name: str
    target: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class _Handed:
    """All there is of a run once it is in the storage."""

    target: Target
    cluster: Cluster
    mirror: Mirror
    submission: Submission


def storage_of(target: Target) -> Mirror:
    """The target's storage, and the folder of this machine for what is fetched from it. Raises :class:`InputError`."""
    mark = hashlib.sha256(target.storage.encode()).hexdigest()[:16]
    return mirror_of(target.storage, targets_dir() / mark, target.options)


def connected_to(target: Target) -> Cluster:
    """The target's cluster. Raises :class:`InputError`; nothing is asked yet."""
    return connect(context=target.context, kubeconfig=target.kubeconfig, namespace=target.place.namespace)


def run_on(bench: OpenProject, task: Task, options: RunOptions, arguments: Mapping[str, Any]) -> Run:
    """Run ``task`` on ``options.on`` to its end; see :meth:`Workbench.run`."""
    handed, observer = _handed_over(bench, task, options, arguments)
    if options.driver == "here":
        ended = run_here(handed.submission, handed.target, handed.cluster, handed.mirror, observer, options.address)
        return Run.of(ended)
    return attend(handed.target, handed.submission.run, observer)


def submit(bench: OpenProject, task: Task, options: RunOptions, arguments: Mapping[str, Any]) -> Submitted:
    """Hand a run of ``task`` over to a driver in the cluster; see :meth:`Workbench.submit`."""
    if options.driver != "cluster":
        raise InputError("a run that is handed over is driven in the cluster", hint="leave out `driver`")
    handed, _ = _handed_over(bench, task, options, arguments)
    return Submitted(handed.submission.run, handed.target.name)


def attend(target: Target, name: str, observer: Observer) -> Run:
    """Follow a run of ``target`` to its end. An interrupt aborts it, and goes on as ``KeyboardInterrupt``."""
    cluster, mirror = connected_to(target), storage_of(target)
    try:
        run_apart(away.attend(mirror, cluster, name, observer, target.unscheduled))
    except KeyboardInterrupt:
        run_apart(away.abort(mirror, cluster, name, observer))
        raise
    return run_apart(_ended(mirror, name))


async def _ended(mirror: Mirror, name: str) -> Run:
    return Run.of(await reading.result(mirror, await reading.read_run(mirror, name)))


def _handed_over(
    bench: OpenProject, task: Task, options: RunOptions, arguments: Mapping[str, Any]
) -> tuple[_Handed, Observer]:
    if options.on is None:
        raise InputError("nothing says on which target", hint='`RunOptions(on="NAME")`, of [tool.flyte-build.targets]')
    settings = bench.settings(caches=options.caches)
    target = target_named(options.on, settings)
    cluster, mirror = connected_to(target), storage_of(target)
    stated = next(t for t in settings.targets if t.name == target.name)
    settings = for_cluster(settings, target, cluster)
    environments = reached(bench, task)
    names = {environment.name for environment in environments}
    refuse_missing_template(cluster, task)
    refuse_lost_folders(t for t in bench.tasks if t.environment in names)
    for line in uncallable((t for e in environments for t in bench.tasks if t.environment == e.name), task):
        bench.reporter.warn(line)
    for line in unserved(bench, target.name, StoredDeployments(mirror)):
        bench.reporter.warn(line)
    pushed = pushed_for(bench, environments, settings, locked=options.locked, check=options.check)
    references, needs = pushed.references, pushed.needs
    refuse_pull_logins(cluster, target, settings, references.values())
    name = options.name or new_name()
    observer = options.observer(name) if options.observer is not None else Reported(bench.reporter)
    given = uploaded(Storage(mirror.runs, mirror.url), task, arguments)
    with scratch() as bundles:
        with bench.modules.entered():
            call = root_action(bench.workspace.project, task, given, bundles)
        root = root_of(call, task)
        root = replace(root, env={**root.env, **pinned(bench.workspace, environments)})
        refuse_hopeless(cluster, target, root, references[task.environment], needs)
        own = own_tasks(bench, references, bundles / "own")
        apps = on_cluster(bench, environments, references)
        refuse_apps(cluster, target, apps, references, root.env, needs)
        with bench.modules.entered():
            doubts = doubtful(bench, cluster, target, environments, task, root, references, bundles, needs)
        for line in doubts:
            observer.warn(line)
        carries = any(has_containers(bench.tasks, environment.name) for environment in environments)
        image = driver_reference(settings, bench.reporter) if options.driver == "cluster" or carries else ""
        submission = run_apart(
            _store(mirror, name, stated.table, target, root, references, bench, task, options, needs, image, apps, own)
        )
    if options.driver == "cluster":
        of = Needs(driver_platforms(settings.platforms))
        cluster.create(JOBS, driver_job(name, image, target, of))
    return _Handed(target, cluster, mirror, submission), observer


def for_cluster(settings: Settings, target: Target, cluster: Cluster) -> Settings:
    """What is pushed, and where to: for the platforms of the nodes there are, unless the settings say for which."""
    settings = replace(settings, registry=target.registry or settings.registry)
    return settings if settings.platforms else replace(settings, platforms=platforms(cluster))


async def _store(
    mirror: Mirror,
    name: str,
    table: Mapping[str, Any],
    target: Target,
    root: RootAction,
    references: Mapping[str, str],
    bench: OpenProject,
    task: Task,
    options: RunOptions,
    needs: Mapping[str, Needs],
    carrier: str,
    apps: Sequence[ClusterApp],
    own: Mapping[str, DeployedTask],
) -> Submission:
    resumed = None
    if options.resume is not None:
        earlier = await reading.read_run(mirror, await reading.full_name(mirror, options.resume))
        if earlier.running:
            hint = f"`flyte-build abort --on {target.name} {earlier.name}` ends it; or wait"
            raise RunError(f"run {earlier.name} is still running", hint=hint)
        resumed = {**earlier.facts, "name": earlier.name}
    return (
        await store_submission(
            mirror, name, (target.name, table), root, references,
            inline={t.full_name: t.inline for t in bench.workspace.project.tasks}, resumed=resumed,
            docs={t.full_name: t.doc for t in bench.workspace.project.tasks},
            overwrite_cache=options.overwrite_cache, needs=needs, carrier=carrier, apps=apps,
            own=list(own.values()),
            invocation=options.invocation or invocation_of(bench, task),
        )
    )[0]  # fmt: skip
