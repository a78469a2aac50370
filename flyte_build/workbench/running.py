"""``project.run``: a task call on this machine: images made ready and unpacked, and the task run in them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ..kernel.paths import runs_dir, tasks_dir
from ..kernel.reporting import Reporter
from ..kernel.scratch import scratch
from ..kernel.values import dataclass, field
from ..project.nouns import Task
from ..project.serializing import SerializedTask, root_action, stored
from ..submit.action import ROOT_ACTION, RootAction
from ..submit.control.application import Control
from ..submit.deployed import Deployments
from ..submit.imports import imported_by_bundle
from ..submit.journal import ActionRecord
from ..submit.limits import TaskLimits
from ..submit.observer import Observer
from ..submit.roots import Roots
from ..submit.run import RunRequest, execute, new_name, references_of
from ..submit.sandbox.spec import Engine, Network
from ..submit.storage import Storage
from ..submit.uploads import upload
from .apps import apps_of
from .by_name import own_tasks
from .called import Called
from .headstart import sealed
from .opened import OpenProject
from .pod_images import pods_of
from .readiness import Ready, get_ready, reached, refuse_templates
from .runs import Run
from .signatures import require_signed
from .trying import tried

__all__ = [
    "LocalPath", "Reported", "RunOptions", "invocation_of", "launch", "log_settings", "root_of", "start",
    "strange_names", "uploaded",
]  # fmt: skip

# What flyte's runtime reads to decide what it logs; whoever submits a run sets them, here as in the SDK itself.
_LOG_LEVEL, _LOG_VARIABLES = "LOG_LEVEL", ("LOG_LEVEL", "USER_LOG_LEVEL", "LOG_FORMAT")


@dataclass(frozen=True, slots=True)
class LocalPath:
    """A local file or folder for a ``File`` or ``Dir`` parameter; the run copies it to where tasks can read it."""

    path: Path
    folder: bool


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run. ``resume`` names a run whose successes are reused; ``invocation`` is kept with the run so that
    ``--resume`` can repeat it. ``check``, ``locked`` and ``caches`` are as :meth:`Workbench.ready` has them; ``ready``,
    where it is given, is what that made. ``network`` is what tasks reach, by default what the settings say (see
    docs/settings.md). ``verify_images``: every file of an unpacked image is hashed before the run enters it, instead of
    looked at. ``on`` names the target of the settings to run on instead of this machine; ``driver`` is where what
    drives it runs (docs/kubernetes.md), and ``address`` by what pods reach this machine, where that is ``here``.
    ``engine`` enters sandboxes, by default what works here; ``observer`` is made with the run's name and hears of every
    action.
    """

    name: str | None = None
    network: Network | None = None
    resume: str | None = None
    overwrite_cache: bool = False
    check: bool = True
    locked: bool = False
    verify_images: bool = False
    caches: tuple[str, ...] = ()
    invocation: Mapping[str, Any] = field(default_factory=dict)
    ready: Ready | None = None
    on: str | None = None
    driver: Literal["cluster", "here"] = "cluster"
    address: str | None = None
    engine: Engine | None = None
    observer: Callable[[str], Observer] | None = None


class Reported:
    """The observer for callers that give none: warnings go to the reporter."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def on_action(self, record: ActionRecord) -> None:
        return None

    def on_line(self, action: str, attempt: int, line: str) -> None:
        return None

    def warn(self, message: str) -> None:
        self._reporter.warn(message)


class _Begins:
    """Passes on what it hears; ``begun`` is set once the run's first task has called another one, or has ended."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.begun = threading.Event()

    def on_action(self, record: ActionRecord) -> None:
        if record.name != ROOT_ACTION or record.phase.terminal:
            self.begun.set()
        self._observer.on_action(record)

    def on_line(self, action: str, attempt: int, line: str) -> None:
        self._observer.on_line(action, attempt, line)

    def warn(self, message: str) -> None:
        self._observer.warn(message)


def start(bench: OpenProject, task: Task, options: RunOptions, arguments: Mapping[str, Any]) -> Run:
    """Run ``task`` to its end; see :meth:`Workbench.run`.

    Raises :class:`SandboxError`, :class:`RunError` for a name that is taken or a run that cannot be resumed, and what
    making ready and unpacking raise; a task's failure is a result.
    """
    refuse_templates(bench, task, reached(bench, task))
    ready = options.ready or get_ready(
        bench, task, options.caches, check=options.check, locked=options.locked, network=options.network
    )
    require_signed(bench.settings(), ready.images, bench.reporter)
    return launch(bench, task, ready, options, arguments)


def launch(bench: OpenProject, task: Task, ready: Ready, options: RunOptions, arguments: Mapping[str, Any]) -> Run:
    """Run ``task`` in the images of ``ready``, whoever signed them."""
    storage, store, reporter = Storage(runs_dir()), bench.store, bench.reporter
    settings = bench.settings(network=options.network)
    trying = tried(options.engine, settings.network, [storage.runs, store.root])
    for line in strange_names("unfiltered", settings.unfiltered, bench):
        reporter.warn(line)
    given = uploaded(storage, task, arguments)
    with store.reading(), scratch() as bundles:
        with bench.modules.entered():
            call = root_action(bench.workspace.project, task, given, bundles)
        own = own_tasks(bench, references_of(ready.images), bundles / "own")
        imports = imported_by_bundle(call.bundle)
        hushed = Called(reporter, ready.images)
        engine = trying.result()
        roots = Roots(
            store.root, store.blobs, engine, hushed, full=options.verify_images, imports=imports, later=True,
            sealed=sealed,
        )  # fmt: skip
        environments = reached(bench, task)
        pods, apps = pods_of(bench, environments, roots), apps_of(bench, environments, ready.images)
        name = options.name or new_name()
        # What the task itself needs, and what is unpacked already and only looked at, before any timeout runs; the
        # others while it runs, as it takes a while until it calls them.
        needed = [d for name, d in ready.images.items() if name == task.environment or roots.there(d)]
        wanted = dict.fromkeys(needed)
        with reporter.work("unpack and check images", len(wanted)) as progress:
            for digest in wanted:
                roots.get(digest, anything=True)
                progress.advance()
        request = RunRequest(
            name=name,
            runs_dir=storage.runs,
            root=root_of(call, task),
            images=ready.images,
            # What a container task runs in need have no Python; every other task is told.
            image_roots=partial(roots.get, anything=True),
            cache=store.root / "tasks",
            unfiltered=frozenset(settings.unfiltered),
            limits=TaskLimits(settings.task_disk, settings.task_files),
            warm=settings.warm,
            pods=pods,
            apps=apps,
            inline={t.full_name: t.inline for t in bench.workspace.project.tasks},
            resume=options.resume,
            overwrite_cache=options.overwrite_cache,
            engine=engine,
            invocation=options.invocation or invocation_of(bench, task),
            control=Control(Deployments(tasks_dir()), own),
            docs={t.full_name: t.doc for t in bench.workspace.project.tasks},
        )
        observer = _Begins(options.observer(name) if options.observer is not None else Reported(reporter))
        hushed.quiet = True  # the run is shown now
        with roots.ahead([d for d in dict.fromkeys(ready.images.values()) if d not in wanted], observer.begun):
            return Run.of(execute(request, observer))


def strange_names(key: str, names: Sequence[str], bench: OpenProject) -> list[str]:
    """A line for each of ``names``, which the setting ``key`` has, that no environment of the file is called by.

    A misspelt name must not look like one that was heard.
    """
    import difflib

    there = list(bench.environments)
    lines = []
    for name in dict.fromkeys(names):
        if name not in there:
            # The most alike first.
            alike = difflib.get_close_matches(name, there, len(there), 0.0)
            ordered = [*alike, *(e for e in there if e not in alike)]
            lines.append(f"the setting `{key}`: no environment is called `{name}`; there are: {', '.join(ordered)}")
    return lines


def root_of(call: SerializedTask, task: Task) -> RootAction:
    """What a run begins with."""
    env = call.env | log_settings(os.environ)
    return RootAction(call.task_spec, call.inputs, call.bundle, task.environment, task.full_name, env, call.queue)


def uploaded(storage: Storage, task: Task, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with local paths as the ``File`` or ``Dir`` that the task takes, copied to where tasks can read."""
    return {name: _uploaded(storage, value, task.inputs.get(name)) for name, value in arguments.items()}


def _uploaded(storage: Storage, value: Any, parameter: tuple[Any, Any] | None) -> Any:
    """A local path as the ``File`` or ``Dir`` that the task takes; anything else as it is."""
    if isinstance(value, Path) and parameter is not None and parameter[0] is not Path:
        value = LocalPath(value, value.is_dir())
    return stored(upload(storage, value.path), folder=value.folder) if isinstance(value, LocalPath) else value


def invocation_of(bench: OpenProject, task: Task) -> dict[str, Any]:
    """Who started the run: there is no command line to repeat."""
    return {"file": str(bench.file), "root": str(bench.root), "lockfiles": str(bench.lockfiles), "task": task.name}


def log_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """What every action of a run logs, as this process would; a task's own ``env_vars`` win over it.

    The runtime's default level, WARNING, tells of every start, end and change of a child; unless ``$LOG_LEVEL`` asks
    for them, a log holds what the task printed and its errors.
    """
    given = {name: environ[name] for name in _LOG_VARIABLES if environ.get(name)}
    return {_LOG_LEVEL: "ERROR"} | given
