"""One run from its root action to its end: the one entry point for callers.

It puts the pieces together (folder, journal, engine, service, launcher) in an event loop of its own and takes them
apart again, whatever happens: on return, or on an exception such as an interrupt, no process of the run is left. It
draws nothing (see ``observer``) and builds nothing.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flyteidl2.actions import actions_service_pb2
from flyteidl2.common import identifier_pb2
from flyteidl2.task import common_pb2
from flyteidl2.workflow import run_definition_pb2

from ..kernel.errors import RunError, StoreError
from ..store.locks import try_acquire
from .action import OUTPUTS, ROOT_ACTION, ErrorInfo, ImageRoot, Launcher, Phase, RootAction
from .attempt import Attempts, RunFacts
from .cache import TaskCache, bundle_digest, stored_outputs
from .engine import Engine
from .history import outcomes, read_chain
from .journal import ActionRecord, Journal
from .leftovers import sweep
from .limits import TaskLimits
from .local import LocalLauncher
from .loop import run_apart
from .observer import Observer
from .removal import remove_left
from .reuse import Reuse
from .sandbox.cgroups import Cgroups
from .sandbox.entrance import Entrance, entrance
from .sandbox.spec import Engine as SandboxEngine
from .sandbox.spec import Network
from .scheduler import Scheduler, machine
from .seen import Seen
from .service import Service, serve
from .storage import BUNDLES, RunFolder, Storage
from .template import pin_root, read_task

__all__ = ["RunRequest", "RunResult", "execute", "new_name"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# What the runtime demands and a run without a backend has no other name for.
ORG, PROJECT, DOMAIN = "local", "flyte-build", "development"


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run and with what.

    ``images`` maps every environment the run may reach → its manifest's digest, ``image_roots`` a digest → its root
    (called in threads; may unpack). ``cache`` is the task cache's folder. ``resume`` names an earlier run whose
    successes are reused, and those of the run that it resumed, and so on; it may be ``name`` itself. ``cpu`` (cores)
    and ``memory`` (bytes) bound what runs at once, by default this machine's. ``network`` and ``engine`` are for
    sandboxes, by default what works here (see ``entrance``). ``unfiltered`` are the environments whose tasks may make
    every system call, ``limits`` what a task may use up of the disk, ``inline`` the most bytes of messages of tasks
    that say so, by full name. ``warm``: actions are forks where that can be (see ``warm``). ``invocation``
    is kept with the run, for whoever wants to repeat it.
    """

    name: str
    runs_dir: Path
    root: RootAction
    images: Mapping[str, str]
    image_roots: Callable[[str], ImageRoot]
    cache: Path
    network: Network | None = None
    unfiltered: frozenset[str] = frozenset()
    limits: TaskLimits = field(default_factory=TaskLimits)
    inline: Mapping[str, int] = field(default_factory=dict)
    resume: str | None = None
    overwrite_cache: bool = False
    cpu: float | None = None
    memory: int | None = None
    engine: SandboxEngine | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    invocation: Mapping[str, Any] = field(default_factory=dict)
    warm: bool = True


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. ``outputs`` is the serialized ``flyteidl2.task.Outputs`` of the root, if it has any.

    URIs in it are names inside the sandboxes: ``storage.path(uri)`` is the file on this machine.
    """

    name: str
    folder: Path
    phase: Phase
    storage: Storage
    actions: tuple[ActionRecord, ...]
    outputs: bytes | None = None
    outputs_path: Path | None = None
    error: ErrorInfo | None = None

    @property
    def reports(self) -> tuple[Path, ...]:
        """The reports that tasks wrote, in the order they began."""
        ordered = sorted(self.actions, key=lambda a: a.queued)
        return tuple(dict.fromkeys(Path(a.report) for a in ordered if a.report))


def new_name() -> str:
    """A fresh name for a run: sorts by time, and is short enough to type."""
    return f"r{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def execute(request: RunRequest, observer: Observer) -> RunResult:
    """Run to the end and say how it ended; a task's failure is a result, not an exception.

    Raises :class:`SandboxError` where this machine cannot isolate, :class:`RunError` for a name that is taken or a run
    that cannot be resumed, :class:`StoreError` for a state folder that cannot be written. An interrupt aborts every
    action, then goes on as ``KeyboardInterrupt``.
    """
    engine = entrance(request.engine, request.network, [request.runs_dir])
    storage = Storage(request.runs_dir)
    folder = storage.run(request.name)
    missing = request.root.environment not in request.images
    if missing:
        raise RunError(
            f"environment {request.root.environment!r} has no image; images are known for {', '.join(request.images)}"
        )
    previous, facts = _before(request, storage, observer.warn)
    sweep(storage)
    lock = _claim(request, folder)
    try:
        with _writing(folder):
            return _execute(request, observer, engine, folder, previous, facts)
    finally:
        remove_left(folder.scratch)
        os.close(lock)


def _execute(
    request: RunRequest,
    observer: Observer,
    engine: Entrance,
    folder: RunFolder,
    previous: Mapping[str, ActionRecord],
    facts: Mapping[str, Any],
) -> RunResult:
    for sentence in engine.said:
        observer.warn(sentence)
    storage = folder.storage
    code = bundle_digest(request.root.bundle)
    hexadecimal = code.removeprefix("sha256:")
    shutil.copyfile(request.root.bundle, folder.bundles / f"{hexadecimal}.tgz")
    references = {env: f"flyte-build.local/{env}@{digest}" for env, digest in request.images.items()}
    spec = pin_root(request.root.task_spec, references, request.root.environment, f"{BUNDLES}/{hexadecimal}.tgz")
    task = read_task(spec)
    run = RunFacts(
        folder=folder,
        images={reference: request.images[env] for env, reference in references.items()},
        bundle=code,
        started=facts.get("run_start_time") or datetime.now(UTC).isoformat(timespec="seconds"),
        org=task.org or ORG,
        project=task.project or PROJECT,
        domain=task.domain or DOMAIN,
        env=request.root.env,
        inline=request.inline,
    )
    if not folder.facts.exists():
        _write_facts(request, run, engine.network, facts.get("name"))
    folder.inputs(ROOT_ACTION).parent.mkdir(exist_ok=True, parents=True)
    folder.inputs(ROOT_ACTION).write_bytes(request.root.inputs)
    seen = Seen(folder)
    seen.prepare()
    seen.show_message(common_pb2.Inputs.FromString(request.root.inputs))
    action = actions_service_pb2.Action(
        action_id=identifier_pb2.ActionIdentifier(run=run.identifier, name=ROOT_ACTION),
        input_uri=storage.uri(folder.inputs(ROOT_ACTION)),
        run_output_base=storage.uri(folder.meta),
        task=run_definition_pb2.TaskAction(spec=spec),
    )
    token = secrets.token_urlsafe(24)
    launcher = LocalLauncher(
        folder=folder,
        engine=engine,
        images=request.image_roots,
        token=token,
        observer=observer,
        network=engine.network,
        nameserver=engine.nameserver,
        unfiltered=request.unfiltered,
        limits=request.limits,
        cgroups=Cgroups.detect(),
        environment=request.environment,
        warm=request.warm,
    )
    return run_apart(_run(request, run, action, launcher, token, previous, observer))


async def _run(
    request: RunRequest,
    run: RunFacts,
    action: actions_service_pb2.Action,
    launcher: Launcher,
    token: str,
    previous: Mapping[str, ActionRecord],
    observer: Observer,
) -> RunResult:
    storage = run.folder.storage
    cores, memory = machine()
    scheduler = Scheduler(request.cpu or cores, request.memory or memory)
    journal = Journal(run.folder.journal)
    reuse = Reuse(
        storage, TaskCache(request.cache, storage), observer, previous, request.overwrite_cache, Seen(run.folder)
    )
    engine = Engine(Attempts(run, launcher, scheduler), reuse, journal, observer)
    phase = Phase.ABORTED
    try:
        async with serve(Service(engine, run.identifier), run.folder.socket, token):
            try:
                await engine.enqueue(action)
                root = await engine.wait(ROOT_ACTION)
                phase = root.phase
            finally:
                await engine.close()
        return _result(request, run, root, tuple(engine.records()))
    finally:
        if isinstance(launcher, LocalLauncher):
            await launcher.close()
        await journal.append({"run": {"phase": phase.value, "ended": time.time()}}, durable=True)
        journal.close()


def _result(request: RunRequest, run: RunFacts, root: ActionRecord, actions: tuple[ActionRecord, ...]) -> RunResult:
    storage = run.folder.storage
    path = storage.path(root.output_uri) / OUTPUTS if root.output_uri else None
    outputs = stored_outputs(f"{root.output_uri}/{OUTPUTS}", storage) if path is not None else None
    return RunResult(
        name=request.name,
        folder=run.folder.path,
        phase=root.phase,
        storage=storage,
        actions=actions,
        outputs=outputs.SerializeToString(deterministic=True) if outputs is not None else None,
        outputs_path=path if outputs is not None else None,
        error=root.error,
    )


def _before(
    request: RunRequest, storage: Storage, warn: Callable[[str], object]
) -> tuple[dict[str, ActionRecord], dict[str, Any]]:
    """What is known of every action of the resumed run and of those that it resumed, and the facts of the first."""
    if request.resume is None:
        return {}, {}
    chain = read_chain(storage.runs, request.resume, warn)
    run = chain[0]
    if run.running:
        raise RunError(f"run {run.name} is still running", hint="interrupt it first, or wait for its end")
    # By its whole name: what was typed may be the beginning of several by the time that this run is resumed.
    return outcomes(chain), {**run.facts, "name": run.name}


def _claim(request: RunRequest, folder: RunFolder) -> int:
    """Make the run's folder and hold its lock, whose descriptor is given."""
    if not _NAME.fullmatch(request.name):
        raise RunError(f"`{request.name}` is no name for a run: expected letters, digits, `.`, `_` and `-`")
    if folder.path.exists() and request.resume != request.name:
        raise RunError(f"run {request.name} exists in {folder.storage.runs}", hint="choose another name, or resume it")
    try:
        for path in (folder.meta, folder.raw, folder.kept, folder.bundles, folder.scratch):
            path.mkdir(parents=True, exist_ok=True)
        folder.path.chmod(0o700)
        handle = try_acquire(folder.lock)
    except OSError as e:
        raise _unwritable(folder, e) from e
    if handle is None:
        raise RunError(f"run {request.name} is still running", hint="wait for its end, or choose another name")
    return handle


@contextmanager
def _writing(folder: RunFolder) -> Iterator[None]:
    """What the disk refuses inside as :class:`StoreError`: writing to an open file does not say to which."""
    try:
        yield
    except OSError as e:
        if e.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO):
            raise
        raise _unwritable(folder, e) from e


def _unwritable(folder: RunFolder, e: OSError) -> StoreError:
    return StoreError(
        f"{folder.path}: {e.strerror or e}",
        hint="make room there and check its owner, or set FLYTE_BUILD_STATE to a folder that you may write to",
    )


def _write_facts(request: RunRequest, run: RunFacts, network: Network, resumed: str | None) -> None:
    facts = {
        "schema": 1,
        "name": request.name,
        "task": request.root.task,
        "environment": request.root.environment,
        "started": time.time(),
        "run_start_time": run.started,
        "bundle": run.bundle,
        "images": dict(request.images),
        "network": network,
        "resume": resumed,
        "invocation": dict(request.invocation),
    }
    temporary = run.folder.facts.with_suffix(".tmp")
    temporary.write_text(json.dumps(facts, indent=1) + "\n")
    temporary.replace(run.folder.facts)
