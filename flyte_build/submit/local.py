"""The local launcher: every attempt in a fresh sandbox over its image's root, on this machine.

The image is read-only; the user's home, the working directory and the temporary folders are fresh and on disk (memory
is what a task's limit counts), seeded with what the image has there. The host's environment does not get in.
What this machine cannot give (limits, accelerators) is said once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from flyteidl2.task import common_pb2
from google.protobuf.message import DecodeError

from ..kernel.errors import FlyteBuildError
from . import door
from .action import OUTPUTS, ImageRoot, LaunchRequest, Outcome
from .fresh import HOME, names, seed, workdir, writable
from .limits import MOST_FILES, TaskLimits, shared_memory
from .observer import Observer
from .outputs import Settlement, View
from .removal import remove_left
from .sandbox import process
from .sandbox.cgroups import Cgroups, Group
from .sandbox.engines import init_mount
from .sandbox.spec import SOCKET, Engine, Mount, Network, Sandbox, Tmpfs
from .scheduler import machine
from .secrets import MOUNT as SECRETS
from .secrets import MissingSecret, Secrets, resolve
from .storage import BUNDLES, MOUNT, RunFolder
from .usage import Place
from .warm.forked import Forked
from .warm.pool import PLACE, Pool, Worker
from .watch import Watch, Watched

__all__ = ["LocalLauncher"]

# Processes and threads of an attempt: what OpenShift gives a pod, or more on a large machine.
MOST_PIDS = max(4096, 256 * (os.cpu_count() or 1))
_MEMORY = ("/dev/shm", "/run", "/mnt/flyte", SECRETS)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class LocalLauncher:
    """Launches one run's attempts with ``engine``.

    ``images`` gives an image's root by digest (and may unpack it first), ``token`` is the service's, ``environment`` is
    where secrets are looked up. Groups for limits are made in ``cgroups``. ``unfiltered`` environments' tasks may make
    every system call. ``limits`` are what the project says of all its tasks. ``nameserver`` answers in the sandboxes'
    ``network``; ``None``: the host's own do. ``warm``: actions are forks of an interpreter of their image where that
    can be (see ``warm``); why one was not is in the run's ``workers/cold.log``.
    """

    folder: RunFolder
    engine: Engine
    images: Callable[[str], ImageRoot]
    token: str
    observer: Observer
    network: Network = "host"
    nameserver: str | None = None
    unfiltered: frozenset[str] = frozenset()
    limits: TaskLimits = field(default_factory=TaskLimits)
    cgroups: Cgroups = field(default_factory=Cgroups.detect)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    warm: bool = True
    _pool: Pool = field(init=False)
    _said: set[str] = field(default_factory=set)
    _settlements: dict[str, Settlement] = field(default_factory=dict)
    _watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_watch", Watch(self.folder, self.limits, self._say))
        scratch, logs = self.folder.scratch, self.folder.workers
        pool = Pool(self.engine, scratch, logs, self._shared(), self.cgroups, MOST_PIDS, self._note, self.warm)
        object.__setattr__(self, "_pool", pool)

    async def close(self) -> None:
        """End what outlives an attempt. Nothing is launched after it."""
        await self._pool.close()

    async def launch(self, request: LaunchRequest) -> Outcome:
        """See :class:`~.action.Launcher`. A missing secret or image is an outcome, not an exception."""
        try:
            image = await asyncio.to_thread(self.images, request.image)
            secrets = resolve(request.secrets, self.environment)
        except MissingSecret as e:
            return Outcome(1, "error", str(e), "MissingSecret")
        except FlyteBuildError as e:
            return Outcome(1, "error", e.message if e.hint is None else f"{e.message}; {e.hint}", "ImageUnusable")
        env = self._environment(image, request, secrets)
        binds = tuple(Mount(source, target) for source, target in image.binds)
        filtered = request.environment not in self.unfiltered
        bare = Sandbox(image.root, image.python, binds, network=self.network, filtered=filtered)
        async with self._pool.worker(bare, image.digest, request.args, env, request.environment) as worker:
            return await self._attempt(request, image, bare, env, secrets, worker)

    async def _attempt(
        self,
        request: LaunchRequest,
        image: ImageRoot,
        bare: Sandbox,
        env: Mapping[str, str],
        secrets: Secrets,
        worker: Worker | None,
    ) -> Outcome:
        above = self.folder.scratch if worker is None else worker.scratch
        scratch = above / f"{request.action}-{request.attempt}"
        group = None
        try:
            mounts = await asyncio.to_thread(self._mounts, image, scratch)
            group = self._limits(request)
            self._settlements[request.action] = self._settlement(request, image, mounts)
            own = [Place(m.source, "", m.target) for m in mounts if m.writable and m.source.parent == scratch]
            async with self._watch.over(request, own, _MEMORY) as watched:
                box = replace(bare, mounts=mounts, tmpfs=_memory_backed(request, secrets))
                outcome = await self._run(request, box, workdir(image), env, secrets, group, watched, worker)
            if watched.outcome is not None:
                return watched.outcome
            return await self._taken_over(request, outcome)
        finally:
            self._settlements.pop(request.action, None)
            # Shielded: also a cancelled attempt leaves nothing behind.
            await asyncio.shield(asyncio.to_thread(_clean, scratch, group))

    async def _taken_over(self, request: LaunchRequest, outcome: Outcome) -> Outcome:
        """Take over the attempt's outputs; what may not be taken over is the task's failure."""
        folder = self.folder
        document = folder.storage.uri(folder.attempt(request.action, request.attempt) / OUTPUTS)
        target = folder.outcome(request.action, request.attempt) / OUTPUTS
        try:
            await self.settle(request.action, document, target, "outputs", request.inline)
        except FileNotFoundError:
            pass
        except (door.Refused, DecodeError, ValueError) as e:
            return Outcome(1, "error", f"its outputs cannot be taken over: {e}", "BadOutputs")
        return outcome

    async def settle(
        self, action: str, document: str, target: Path, kind: Literal["inputs", "outputs"], limit: int = door.INLINE
    ) -> None:
        """See :class:`~.action.Launcher`."""
        below = self.folder.storage.below(document, self.folder.name)
        message = common_pb2.Inputs if kind == "inputs" else common_pb2.Outputs
        settlement = self._settlements.get(action)
        if settlement is None:
            await asyncio.to_thread(_copy, self.folder.path, below, target, limit)
        else:
            await asyncio.to_thread(settlement.settle, self.folder.path, below, target, message, limit)

    async def fetch(self, document: Path) -> None:
        """See :class:`~.action.Launcher`. Sandboxes write where it is read."""

    def _settlement(self, request: LaunchRequest, image: ImageRoot, mounts: tuple[Mount, ...]) -> Settlement:
        seen = {"/": image.root} | {m.target: m.source for m in mounts}
        files = self.folder.outcome(request.action, request.attempt) / "files"
        return Settlement(View(seen), files, self.folder.storage.uri(files))

    async def _run(
        self,
        request: LaunchRequest,
        box: Sandbox,
        cwd: str,
        env: Mapping[str, str],
        secrets: Secrets,
        group: Group | None,
        watched: Watched,
        worker: Worker | None,
    ) -> Outcome:
        running: process.Process | Forked | None = None
        files = {f"{SECRETS}/{name}": value for name, value in secrets.files.items()}
        join = group.join if group is not None else ()
        if worker is not None:
            running = await self._pool.start(
                worker, box, request.args, env, cwd, output=request.log, forward=True, files=files, join=join
            )
        if running is None:
            running = await process.start(
                self.engine, box, request.args, env, cwd, output=request.log, forward=True, files=files, join=join
            )
        watched.runs(running)
        try:
            async with asyncio.timeout(request.timeout):
                code = await running.wait()
        except TimeoutError:
            return Outcome(await running.stop(), "timeout")
        except asyncio.CancelledError:
            await running.stop()
            raise
        if group is not None and group.oom_kills():
            size = request.resources.memory or 0
            return Outcome(code, "oom", f"killed at its memory limit of {size / 2**20:.0f} MiB")
        if group is not None and group.refused_forks():
            return Outcome(code, "pids", f"it may have {MOST_PIDS:,} processes and threads at once, and wanted more")
        if worker is not None and isinstance(running, Forked) and await running.ended() is None and await worker.died():
            return Outcome(code, "lost", "the interpreter that it was a fork of ended")
        return Outcome(code)

    def _environment(self, image: ImageRoot, request: LaunchRequest, secrets: Secrets) -> dict[str, str]:
        """The image's own variables, then the task's and the contract's: nothing of the host's."""
        env = {
            "HOME": HOME,
            "USER": "flyte",
            "LOGNAME": "flyte",
            # The log is a file: without this the last lines of a killed task would be lost.
            "PYTHONUNBUFFERED": "1",
            **dict(item.partition("=")[::2] for item in image.env),
            **request.env,
            **secrets.env,
            "_U_EP_OVERRIDE": f"http://127.0.0.1:0/{self.token}",
        }
        for name in ("NO_PROXY", "no_proxy"):
            # A proxy that the user gives the task must not come between it and its own service.
            env[name] = ",".join([*filter(None, [env.get(name)]), *_LOOPBACK])
        return env

    def _mounts(self, image: ImageRoot, scratch: Path) -> tuple[Mount, ...]:
        remove_left(scratch)
        scratch.mkdir(parents=True)
        folder = self.folder
        mounts = [init_mount(), Mount(folder.socket, SOCKET, writable=True)]
        for number, target in enumerate(writable(image)):
            own = scratch / str(number)
            seed(image.root, target, own)
            mounts.append(Mount(own, target, writable=True))
        mounts += [Mount(source, target) for source, target in image.binds]
        mounts += names(scratch, self.network, self.nameserver)
        mounts += [
            Mount(folder.seen, MOUNT),
            Mount(folder.kept, f"{MOUNT}/{folder.name}/kept"),
            Mount(folder.meta, f"{MOUNT}/{folder.name}/meta", writable=True),
            Mount(folder.raw, f"{MOUNT}/{folder.name}/raw", writable=True),
            Mount(folder.bundles, BUNDLES),
        ]
        return tuple(mounts)

    def _shared(self) -> tuple[Mount, ...]:
        """What every sandbox of the run has, and workers have for those they make."""
        folder = self.folder
        return (
            Mount(folder.socket, f"{PLACE}/actions.sock", writable=True),
            Mount(folder.seen, f"{PLACE}/seen"),
            Mount(folder.kept, f"{PLACE}/kept"),
            Mount(folder.meta, f"{PLACE}/meta", writable=True),
            Mount(folder.raw, f"{PLACE}/raw", writable=True),
            Mount(folder.bundles, f"{PLACE}/bundles"),
        )

    def _limits(self, request: LaunchRequest) -> Group | None:
        asked = request.resources
        if asked.accelerator is not None:
            self._say(f"tasks run without the accelerators they ask for ({asked.accelerator}) on this machine")
        for what, wanted, there in (
            ("memory", asked.memory, self.cgroups.memory),
            ("cpu", asked.cpu, self.cgroups.cpu),
        ):
            if wanted is not None and there is None:
                self._say(f"{what} limits are not enforced here: this user may make no control group for {what}")
        try:
            name = f"{self.folder.name}-{request.action}-{request.attempt}"
            group = self.cgroups.create(name, memory=asked.memory, cpu=asked.cpu, pids=MOST_PIDS)
            return group if group.folders else None
        except OSError as e:
            self._say(f"memory, cpu and process limits are not enforced here: {e}")
            return None

    def _note(self, message: str) -> None:
        self.folder.workers.mkdir(exist_ok=True)
        with open(self.folder.workers / "cold.log", "a", encoding="utf-8") as f:
            f.write(f"{message}\n")

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self.observer.warn(message)


def _memory_backed(request: LaunchRequest, secrets: Secrets) -> tuple[Tmpfs, ...]:
    asked = request.resources
    shm = Tmpfs("/dev/shm", shared_memory(asked.shm, asked.memory, machine()[1]), inodes=MOST_FILES)
    held = sum(len(value.encode()) for value in secrets.files.values())
    return Tmpfs("/run"), Tmpfs("/mnt/flyte"), Tmpfs(SECRETS, Tmpfs(SECRETS).size + 2 * held), shm


def _copy(source: Path, below: str, target: Path, limit: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with door.folder(source) as top, door.folder(target.parent) as kept:
        door.take(top, below, kept, target.name, limit)


def _clean(scratch: Path, group: Group | None) -> None:
    if group is not None:
        group.remove()
    remove_left(scratch)
