"""``project.deploy``: tasks of a file, put where runs of this machine find them by name.

What ``flyte deploy`` is to a backend, this is to ``flyte.remote.Task.get`` in runs here: images are made ready and
named by digest, the code is bundled, and each task's specification is kept with both: on this machine, and nothing
is sent anywhere; or, with ``on``, in the storage of a target (see ``deploying_away``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flyteidl2.task.task_definition_pb2 import TaskSpec

from ..kernel import canonical
from ..kernel.errors import LoadError
from ..kernel.paths import tasks_dir
from ..kernel.scratch import scratch
from ..project.declaring import Declared, declare
from ..project.nouns import Environment
from ..submit.cache import bundle_digest
from ..submit.deployed import DeployedTask, Deployments, check_part
from ..submit.driving import DOMAIN, PROJECT
from ..submit.run import references_of
from ..submit.template import Unsupported, pin_root, read_task, registered
from .apps import apps_by, apps_of
from .following import Follower
from .opened import OpenProject
from .readiness import make_ready
from .shelf import Shelf
from .signatures import require_signed

__all__ = ["Deployed", "DeployedTask", "deploy", "deployed_tasks"]


@dataclass(frozen=True, slots=True)
class Deployed:
    """What was deployed, and the ``version`` that it has. ``known``: the names of what was there already; ``left_out``
    why tasks of the file are not among them."""

    version: str
    tasks: tuple[DeployedTask, ...]
    known: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The document of ``deploy --json``."""
        tasks = [{**task.to_json(), "known": task.name in self.known} for task in self.tasks]
        return {"schema": 1, "version": self.version, "tasks": tasks, "left_out": list(self.left_out)}


def deploy(
    bench: OpenProject,
    environments: Sequence[Environment],
    *,
    version: str = "",
    project: str | None = None,
    domain: str | None = None,
    caches: Sequence[str] = (),
    check: bool = True,
    locked: bool = False,
    follower: Follower | None = None,
    on: str | None = None,
) -> Deployed:
    """See :meth:`Workbench.deploy`."""
    project, domain = project or PROJECT, domain or DOMAIN
    for what, text in (("version", version or "v"), ("project", project), ("domain", domain)):
        check_part(what, text)
    names = {environment.name for environment in environments}
    tasks = [task for task in bench.tasks if task.environment in names]
    if not tasks:
        raise LoadError(f"{bench.file}: no task to deploy", hint="a task is a function decorated with `@env.task`")
    if on is None:
        ready = make_ready(bench, environments, caches, check=check, locked=locked, follower=follower, entered=False)
        require_signed(bench.settings(), ready.images, bench.reporter)
        ready.keep()
        served = apps_of(bench, environments, ready.images)
        shelf = Shelf(
            references_of(ready.images), Deployments(tasks_dir()).put, apps=apps_by(bench, environments, served)
        )
    else:
        from .deploying_away import shelf_on

        shelf = shelf_on(on, bench, environments, caches, check=check, locked=locked)
    images = {e: reference.rpartition("@")[2] for e, reference in shelf.references.items()}
    with scratch() as bundles:
        with bench.modules.entered():
            declared = declare(bench.workspace.project, tasks, bundles)
        code = bundle_digest(declared[0].serialized.bundle)
        pinned = {
            one.task.full_name: shelf.completed(pin_root(one.spec, shelf.references, one.task.environment, ""))
            for one in declared
        }
        version = version or _version(pinned, images, code, shelf.apps)
        made, left_out = [], []
        for one in declared:
            spec = registered(pinned[one.task.full_name], project, domain, version)
            try:
                read_task(spec, gangs=on is not None)
            except Unsupported as e:
                left_out.append(str(e))
                continue
            called = {shelf.references[e]: digest for e, digest in images.items()}
            apps = tuple(shelf.apps.get(one.task.environment, ()))
            made.append(replace(_deployed(one, spec, called, code, bench.file), needs=shelf.needs, apps=apps))
        done = shelf.put(made)
    return Deployed(version, tuple(t for t, _ in done), frozenset(t.name for t, was in done if was), tuple(left_out))


def _version(
    pinned: Mapping[str, TaskSpec],
    images: Mapping[str, str],
    code: str,
    apps: Mapping[str, Sequence[Mapping[str, Any]]],
) -> str:
    """Of the code, the images and what the tasks and their apps ask for: the same as long as they are."""
    specs = {name: spec.SerializeToString(deterministic=True).hex() for name, spec in pinned.items()}
    served = {name: [dict(app) for app in some] for name, some in apps.items() if some}
    contents: dict[str, Any] = {
        "specs": specs,
        "images": dict(images),
        "code": code,
        **({"apps": served} if served else {}),
    }
    return canonical.digest(contents).removeprefix("sha256:")[:16]


def _deployed(one: Declared, spec: TaskSpec, images: Mapping[str, str], code: str, file: Path) -> DeployedTask:
    identifier = spec.task_template.id
    return DeployedTask(
        project=identifier.project,
        domain=identifier.domain,
        name=one.task.full_name,
        version=identifier.version,
        environment=one.task.environment,
        spec=spec.SerializeToString(deterministic=True),
        images=images,
        code=code,
        bundle=one.serialized.bundle,
        at=time.time(),
        inline={one.task.full_name: one.task.inline},
        file=str(file),
    )


def deployed_tasks(
    project: str | None = None, domain: str | None = None, on: str | None = None
) -> Sequence[DeployedTask]:
    """Every version of every task that was deployed here, or to the target ``on``, the latest first, for the project
    and domain of runs unless others are named."""
    where = project or PROJECT, domain or DOMAIN
    if on is None:
        return Deployments(tasks_dir()).listed(*where)
    from .deploying_away import deployments_on

    return deployments_on(on).listed(*where)
