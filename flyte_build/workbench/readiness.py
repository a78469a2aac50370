"""``project.ready``: all that a run here needs: locks where the project has none, checks, images. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..kernel.paths import runs_dir
from ..kernel.values import dataclass
from ..project.nouns import Environment, Task
from ..store import Store
from .by_name import called_by_name
from .following import Follower, Nobody
from .headstart import note
from .opened import OpenProject

if TYPE_CHECKING:
    from ..submit.sandbox.spec import Network

__all__ = ["Ready", "get_ready", "make_ready", "reached", "refuse_templates"]


@dataclass(frozen=True, slots=True)
class Ready:
    """``images``: environment → manifest digest, of the task's and all it reaches; ``derivations`` are theirs.

    ``cached``: nothing had to be built.
    """

    images: Mapping[str, str]
    derivations: tuple[str, ...] = ()
    cached: bool = False

    def keep(self) -> None:
        """Note in the store that the images are used now, so that ``store gc`` leaves them."""
        for derivation in self.derivations:
            Store().touch(derivation)


def get_ready(
    bench: OpenProject,
    task: Task,
    caches: Sequence[str] = (),
    *,
    check: bool = True,
    locked: bool = False,
    network: Network | None = None,
    follower: Follower | None = None,
) -> Ready:
    """See :meth:`Workbench.ready`. Raises :class:`SandboxError` before anything is built where nothing could run, and
    what :func:`refuse_templates` does."""
    environments = reached(bench, task)
    for line in refuse_templates(bench, task, environments):
        bench.reporter.warn(line)
    return make_ready(bench, environments, caches, check=check, locked=locked, network=network, follower=follower)


def reached(bench: OpenProject, task: Task) -> list[Environment]:
    """The environments whose images a run of ``task`` may need: those that it reaches, and those of tasks of the file
    that are called by name."""
    found = {environment.name: environment for environment in bench.select(task.full_name)}
    for called in called_by_name(bench):
        found.update({environment.name: environment for environment in bench.select(called.full_name)})
    return list(found.values())


def refuse_templates(bench: OpenProject, task: Task, environments: Sequence[Environment]) -> list[str]:
    """Raise for pod templates that no run of ``task`` could have here; a line for what its tasks would lack when they
    are called. See ``sidecars``."""
    from ..project.sidecars import takers
    from .sidecars import refuse_missing, refuse_own_images

    names = {environment.name for environment in environments}
    tasks = [t for t in bench.workspace.project.tasks if t.environment in names]
    refuse_own_images(takers(tasks))
    return refuse_missing(tasks, task, bench.settings().pod_templates)


def make_ready(
    bench: OpenProject,
    environments: Sequence[Environment],
    caches: Sequence[str] = (),
    *,
    check: bool = True,
    locked: bool = False,
    network: Network | None = None,
    follower: Follower | None = None,
    entered: bool = True,
) -> Ready:
    """The same for ``environments``; where nothing is to be ``entered`` here, it does not matter whether it could."""
    # A run whose images are on record comes by this file only.
    from ..building.images import build_plan
    from ..planning.images import plan_images
    from ..remote.connecting import connected
    from .pipeline import ensure_locked

    workspace, store, reporter = bench.workspace, bench.store, bench.reporter
    follower = follower or Nobody()
    ensure_locked(workspace, environments, reporter, write=not locked, store=store)
    with connected(bench.settings(caches=caches), reporter) as shared:
        plan = plan_images(workspace, environments, store, shared=shared)
        follower.planned(plan)
        # What this machine refuses, it refuses before images were downloaded for it.
        if entered and not plan.cached:
            from ..submit.sandbox.entrance import choose

            choose(network=bench.settings(network=network).network, folders=[runs_dir(), store.root])
        if check:
            from ..planning.checks import find, refuse

            with bench.modules.entered():
                refuse(find(workspace, environments, store, reporter=reporter, shared=shared))
        follower.making()
        built = build_plan(workspace, plan, store, reporter, shared=shared)
    images = {image.environment: image.manifest_digest for image in built}
    note(bench, built)
    return Ready(images, tuple(image.derivation for image in built), plan.cached)
