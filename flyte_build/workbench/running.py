"""A task call on this machine: images built, unpacked, and the task run in them. Joins building and submit.

The CLI calls this, and so can a script. No rule of its own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..kernel.paths import runs_dir
from ..kernel.reporting import Reporter
from ..planning.workspace import Workspace
from ..project.loading import Task
from ..project.serializing import root_action, stored
from ..store import Store
from ..submit.action import RootAction
from ..submit.observer import Observer
from ..submit.roots import Roots
from ..submit.run import RunRequest, RunResult, execute, new_name
from ..submit.sandbox.engines import choose
from ..submit.sandbox.spec import Engine
from ..submit.storage import Storage
from ..submit.uploads import upload

__all__ = ["LocalPath", "RunOptions", "log_settings", "run_task"]

# What flyte's runtime reads to decide what it logs; whoever submits a run sets them, here as in the SDK itself.
_LOG_LEVEL, _LOG_VARIABLES = "LOG_LEVEL", ("LOG_LEVEL", "USER_LOG_LEVEL", "LOG_FORMAT")


@dataclass(frozen=True, slots=True)
class LocalPath:
    """A local file or folder for a ``File`` or ``Dir`` parameter; the run copies it to where tasks can read it."""

    path: Path
    folder: bool


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run. ``invocation`` is kept with the run so that ``--resume`` can repeat it."""

    name: str | None = None
    network: bool = True
    resume: str | None = None
    overwrite_cache: bool = False
    invocation: Mapping[str, Any] = field(default_factory=dict)


def run_task(
    workspace: Workspace,
    task: Task,
    arguments: Mapping[str, Any],
    images: Mapping[str, str],
    store: Store,
    *,
    options: RunOptions,
    reporter: Reporter,
    observer: Callable[[str], Observer],
    engine: Engine | None = None,
) -> RunResult:
    """Run ``task`` in ``images``: environment → manifest digest, for its own and all it reaches.

    ``observer`` is made with the run's name. ``engine`` enters sandboxes, by default what works here.

    Raises :class:`SandboxError`, :class:`RunError`, and what unpacking images raises; a task's failure is a result.
    """
    engine = engine or choose(network=options.network)
    storage = Storage(runs_dir())
    given = {
        name: stored(upload(storage, value.path), folder=value.folder) if isinstance(value, LocalPath) else value
        for name, value in arguments.items()
    }
    with store.reading(), tempfile.TemporaryDirectory(prefix="flyte-build-") as bundles:
        call = root_action(workspace.project, task, given, Path(bundles))
        roots = Roots(store.root, store.blobs, engine, reporter)
        name = options.name or new_name()
        # The root's image is wanted at once, the others as soon as they are called: before any timeout runs.
        with reporter.work("unpack images", len(images)) as progress:
            for digest in images.values():
                roots.get(digest)
                progress.advance()
        request = RunRequest(
            name=name,
            runs_dir=storage.runs,
            root=RootAction(
                call.task_spec, call.inputs, call.bundle, task.environment, task.full_name, log_settings(os.environ)
            ),
            images=images,
            image_roots=roots.get,
            cache=store.root / "tasks",
            network=options.network,
            resume=options.resume,
            overwrite_cache=options.overwrite_cache,
            engine=engine,
            invocation=options.invocation,
        )
        return execute(request, observer(name))


def log_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """What every action of a run logs, as this process would; a task's own ``env_vars`` win over it.

    The runtime's default level, WARNING, tells of every start, end and change of a child; unless ``$LOG_LEVEL`` asks
    for them, a log holds what the task printed and its errors.
    """
    given = {name: environ[name] for name in _LOG_VARIABLES if environ.get(name)}
    return {_LOG_LEVEL: "ERROR"} | given
