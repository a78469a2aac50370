"""One run on this machine, from its root action to its end.

It puts the pieces together (folder, journal, engine, service, launcher) in an event loop of its own and takes them
apart again, whatever happens: on return, or on an exception such as an interrupt, no process of the run is left. It
draws nothing (see ``observer``) and builds nothing.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from flyteidl2.task import common_pb2

from ..kernel.cgroups import Cgroups
from ..kernel.errors import RunError, StoreError
from ..kernel.values import dataclass, field, replace
from ..store.locks import try_acquire
from .action import OUTPUTS, ROOT_ACTION, ImageRoot, RootAction
from .attempt import RunFacts
from .cache import TaskCache, bundle_digest, stored_outputs
from .control.application import Control
from .control.stash import LocalStash
from .driving import DOMAIN, ORG, PROJECT, Drive, check_name, described, new_name, require_image, start_of, write_facts
from .ended import RunResult
from .gpus.bank import Bank
from .gpus.here import gpus_here
from .gpus.nouns import Gpus
from .history import outcomes, read_chain
from .journal import ActionRecord, Journal
from .leftovers import sweep
from .limits import TaskLimits
from .local import LocalLauncher
from .loop import run_apart, seldom_collected
from .observer import Observer
from .pods.posing import Pods
from .removal import remove_left
from .requests import FolderInbox
from .resolving import put_resolver
from .results import LocalResults
from .reuse import Reuse
from .run_apps import apps_of_run
from .sandbox.entrance import Entrance, entrance
from .sandbox.spec import Engine as SandboxEngine
from .sandbox.spec import Network
from .scheduler import Scheduler, machine
from .seen import Seen
from .served import ServedApp
from .service import serve
from .storage import BUNDLES, RunFolder, Storage
from .warm.company import Company
from .warm.libraries import Libraries

__all__ = ["DOMAIN", "ORG", "PROJECT", "RunRequest", "RunResult", "execute", "new_name", "references_of"]

_Ran = TypeVar("_Ran")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run and with what.

    ``images`` maps every environment the run may reach → its manifest's digest, ``image_roots`` a digest → its root
    (called in threads; may unpack). ``cache`` is the task cache's folder. ``resume`` names an earlier run whose
    successes are reused, and those of the run that it resumed, and so on; it may be ``name`` itself. ``cpu`` (cores)
    and ``memory`` (bytes) bound what runs at once, by default this machine's. ``network`` and ``engine`` are for
    sandboxes, by default what works here (see ``entrance``). ``unfiltered`` are the environments whose tasks may make
    every system call, ``limits`` what a task may use up of the disk, ``inline`` the most bytes of messages of tasks
    that say so, by full name. ``pods`` is what tasks with pod templates need, ``apps`` are served meanwhile. ``warm``:
    actions are forks where that can be (see ``warm``). ``invocation`` is kept with the run, for whoever wants to repeat
    it. ``control`` knows the tasks that are called by name. ``docs`` are what tasks say of themselves, by full name.
    ``gpus`` are those of this machine, by default looked for.
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
    control: Control = field(default_factory=Control)
    docs: Mapping[str, str] = field(default_factory=dict)
    pods: Pods = field(default_factory=Pods)
    apps: tuple[ServedApp, ...] = ()
    gpus: Gpus | None = None


def execute(request: RunRequest, observer: Observer) -> RunResult:
    """Run to the end and say how it ended; a task's failure is a result, not an exception.

    Raises :class:`SandboxError` where this machine cannot isolate, :class:`RunError` for a name that is taken or a run
    that cannot be resumed, :class:`StoreError` for a state folder that cannot be written. An interrupt aborts every
    action, then goes on as ``KeyboardInterrupt``.
    """
    engine = entrance(request.engine, request.network, [request.runs_dir])
    storage = Storage(request.runs_dir)
    folder = storage.run(request.name)
    require_image(request.root, request.images)
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
    put_resolver(folder)
    run, action = start_of(
        folder,
        request.root,
        request.images,
        references_of(request.images),
        bundle=(code, f"{BUNDLES}/{hexadecimal}.tgz"),
        started=facts.get("run_start_time"),
        inline=request.inline,
    )
    if not folder.facts.exists():
        found = described(run, request.root, request.images, facts.get("name"), request.invocation, request.docs)
        write_facts(folder.facts, {**found, "network": engine.network})
    folder.inputs(ROOT_ACTION).parent.mkdir(exist_ok=True, parents=True)
    folder.inputs(ROOT_ACTION).write_bytes(request.root.inputs)
    seen = Seen(folder)
    seen.prepare()
    seen.show_message(common_pb2.Inputs.FromString(request.root.inputs))
    token = secrets.token_urlsafe(24)
    cgroups = Cgroups.detect()
    apps = apps_of_run(
        request.apps, engine, folder, request.image_roots, folder.bundles / f"{hexadecimal}.tgz", cgroups,
        request.environment, request.unfiltered, observer.warn,
    )  # fmt: skip
    cores, memory = machine()
    bank = Bank(gpus_here() if request.gpus is None else request.gpus)
    scheduler = Scheduler(request.cpu or cores, request.memory or memory, bank)
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
        cgroups=cgroups,
        environment=request.environment,
        warm=request.warm,
        company=Company(),
        libraries=Libraries.of(request.root.bundle) if request.warm else Libraries({}),
        waits=scheduler.waits,
        pods=request.pods,
        apps=apps,
        bank=bank,
    )
    results = LocalResults(storage, TaskCache(request.cache, storage), seen)
    drive = Drive(
        run,
        launcher,
        scheduler,
        Reuse(results, observer, previous, request.overwrite_cache),
        Journal(folder.journal),
        observer,
        lambda service: serve(service, folder.socket, token),
        FolderInbox(folder),
        replace(request.control, stash=partial(LocalStash, called=apps.add)),
    )
    with seldom_collected():
        return _result(request, run, *run_apart(_ended(launcher, drive.go(action))))


async def _ended(launcher: LocalLauncher, run: Coroutine[Any, Any, _Ran]) -> _Ran:
    """What ``run`` gives; then nothing of the launcher's is left, nor of one that was killed."""
    try:
        return await run
    finally:
        await launcher.close()
        await asyncio.to_thread(launcher.cgroups.sweep)


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


def references_of(images: Mapping[str, str]) -> dict[str, str]:
    """What tasks here are told of images: environment → a reference by digest, of no registry there is."""
    return {environment: f"flyte-build.local/{environment}@{digest}" for environment, digest in images.items()}


def _before(
    request: RunRequest, storage: Storage, warn: Callable[[str], object]
) -> tuple[dict[str, ActionRecord], dict[str, Any]]:
    """What is known of every action of the resumed run and of those that it resumed, and the facts of the first."""
    if request.resume is None:
        return {}, {}
    chain = read_chain(storage.runs, request.resume, warn)
    run = chain[0]
    if run.running:
        raise RunError(f"run {run.name} is still running", hint=f"`flyte-build abort {run.name}` ends it; or wait")
    # By its whole name: what was typed may be the beginning of several by the time that this run is resumed.
    return outcomes(chain), {**run.facts, "name": run.name}


def _claim(request: RunRequest, folder: RunFolder) -> int:
    """Make the run's folder and hold its lock, whose descriptor is given."""
    check_name(request.name)
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
