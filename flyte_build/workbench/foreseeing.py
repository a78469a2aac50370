"""Before a run goes to a cluster: which of its pods would never run there.

The root's is refused. The other tasks of its environments may be called or not, and with other resources than they
declare: what would keep those pods from ever running is said. Makes nothing in the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..kernel.errors import FlyteBuildError, RunError
from ..kernel.paths import targets_dir
from ..project.declaring import declare
from ..project.nouns import Environment, Task
from ..submit.action import ROOT_ACTION, LaunchRequest, RootAction
from ..submit.kubernetes.api import ApiError, Cluster
from ..submit.kubernetes.cluster_apps import ClusterApp, app_object, app_request
from ..submit.kubernetes.errors import Unplaceable
from ..submit.kubernetes.needs import Needs
from ..submit.kubernetes.preflight import Problem, hopeless
from ..submit.kubernetes.target import Target
from ..submit.kubernetes.templates import template_called
from ..submit.specs import parsed
from ..submit.template import Unsupported, read_task
from .opened import OpenProject

__all__ = ["doubtful", "refuse_apps", "refuse_hopeless", "refuse_missing_template"]


def refuse_hopeless(
    cluster: Cluster, target: Target, root: RootAction, image: str, needs: Mapping[str, Needs] | None = None
) -> None:
    """Raises :class:`RunError` where the root's pod would never run; ``image`` is the reference that nodes pull, and
    ``needs`` what images need of nodes, by digest."""
    try:
        request = _request(root.task, root.environment, root.task_spec, root.queue, image, root.env)
    except Unsupported as e:
        raise RunError(str(e), hint="`flyte run` submits it to a Flyte backend") from None
    problems = hopeless(cluster, [request], target.place, needs)
    if problems:
        lines = [f"{p.job}: {p.message}" for p in problems]
        hints = list(dict.fromkeys(p.hint for p in problems if p.hint))
        raise RunError(
            lines[0] if len(lines) == 1 else "nothing of it would ever run:\n" + "\n".join(f"  {x}" for x in lines),
            hint="\n".join(hints) or None,
        )


def refuse_missing_template(cluster: Cluster, task: Task) -> None:
    """Raises :class:`RunError` where ``task``, which a run begins with, names a pod template that its namespace has
    not: before anything is built for it."""
    name = getattr(task.template, "pod_template", None)
    if not isinstance(name, str):
        return
    try:
        template_called(cluster, task.full_name, name)
    except Unplaceable as e:
        raise RunError(str(e), hint=e.hint) from None


def refuse_apps(
    cluster: Cluster,
    target: Target,
    apps: Iterable[ClusterApp],
    references: Mapping[str, str],
    env: Mapping[str, str],
    needs: Mapping[str, Needs],
) -> None:
    """Raises :class:`RunError` where an app of a run would never be served: its tasks would wait for it in vain."""
    requests = []
    try:
        for app in apps:
            app_object("check", app.name)
            requests.append(app_request(app, "check", references[app.name], env))
    except Unplaceable as e:
        raise RunError(str(e), hint=e.hint) from None
    for problem in hopeless(cluster, requests, target.place, needs):
        raise RunError(f"app {problem.job} would never be served: {problem.message}", hint=problem.hint)


def doubtful(
    bench: OpenProject,
    cluster: Cluster,
    target: Target,
    environments: Iterable[Environment],
    root: Task,
    action: RootAction,
    references: Mapping[str, str],
    bundles: Path,
    needs: Mapping[str, Needs] | None = None,
) -> list[str]:
    """A line for every other task of ``environments`` whose pod would never run if it is called as it is declared, and
    for what is asked for and has no meaning on the target.

    Enter the project's modules before. A cluster that does not answer is no matter here: the run itself asks it again.
    """
    names = {environment.name for environment in environments}
    tasks = [t for t in bench.tasks if t.environment in names and t.full_name != root.full_name]
    lines, requests = [], []
    for task in tasks:
        try:
            (declared,) = declare(bench.workspace.project, [task], bundles)
            request = _request(
                task.full_name, task.environment, declared.spec, declared.serialized.queue,
                references[task.environment], action.env,
            )  # fmt: skip
        except Unsupported as e:
            lines.append(f"{task.full_name}, if it is called: {e}")
        except FlyteBuildError:
            continue  # a type that is known only in its image
        else:
            requests.append(request)
    try:
        problems = hopeless(cluster, requests, target.place, needs)
    except ApiError:
        problems = []
    specs = {root.full_name: action.task_spec, **{request.task: request.task_spec for request in requests}}
    return [*lines, *_lines(problems), *_unheard(target, specs)]


def _unheard(target: Target, specs: Mapping[str, bytes]) -> Iterator[str]:
    """What none of the target's nodes makes a difference for."""
    profile = target.place.profile
    names = [task for task, spec in specs.items() if parsed(spec).task_template.metadata.interruptible]
    if names and not profile.spot:
        yield (
            f"{', '.join(names)}: interruptible, and the profile {profile.name} of target {target.name} has no taints "
            "of spot nodes (`profile.spot`): it runs where any other task does"
        )


def _lines(problems: Iterable[Problem]) -> Iterator[str]:
    for problem in problems:
        way = f" ({problem.hint})" if problem.hint else ""
        yield f"{problem.job}, if it is called, would never run: {problem.message}{way}"


def _request(task: str, environment: str, spec: bytes, queue: str, image: str, env: Mapping[str, str]) -> LaunchRequest:
    """Raises :class:`Unsupported`."""
    from flyteidl2.task import task_definition_pb2

    secrets = read_task(task_definition_pb2.TaskSpec.FromString(spec), gangs=True).secrets
    return LaunchRequest(
        "check", ROOT_ACTION, 1, task, image, (), env, targets_dir(), secrets=secrets, task_spec=spec,
        environment=environment, queue=queue,
    )  # fmt: skip
