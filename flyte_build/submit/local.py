"""The local launcher: every attempt in a fresh sandbox over its image's root, on this machine.

The image is read-only; the user's home, the working directory and the temporary folders are fresh and on disk (memory
is what a task's limit counts), seeded with what the image has there. The host's environment does not get in.
What this machine cannot give (limits, accelerators) is said once.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from ..kernel.cgroups import Cgroups, Group
from ..kernel.errors import FlyteBuildError
from ..kernel.values import dataclass, field, replace
from . import door
from .action import ImageRoot, LaunchRequest, Outcome, Resources
from .beginning import Beginning, Beginnings
from .berth import Berth, launched
from .cold import collecting_late
from .fresh import environment, memory_backed, mounts_of, shared, workdir
from .gpus.bank import Bank
from .gpus.grant import granted
from .groups import MOST_PIDS, Groups, stopped_by
from .kubernetes.errors import Unplaceable
from .limits import TaskLimits
from .observer import Observer
from .pods.beside import Ground
from .pods.posing import Furnished, Pods, Posed, pose
from .resolving import resolving
from .reused import started
from .run_apps import RunApps
from .sandbox import process
from .sandbox.spec import Engine, Mount, Network, Sandbox
from .scratch import clean, own_places
from .secrets import MOUNT as SECRETS
from .secrets import MissingSecret, Secrets, resolve
from .settling import Settling
from .storage import RunFolder
from .warm.company import Company
from .warm.forked import Forked
from .warm.libraries import Libraries
from .warm.pool import Pool, Worker
from .warm.replicas import Replica, Replicas
from .warm.told import key_of
from .watch import Watch, Watched

__all__ = ["MEMORY_BACKED", "LocalLauncher"]

MEMORY_BACKED = ("/dev/shm", "/run", "/mnt/flyte", SECRETS)


@dataclass(frozen=True, slots=True)
class LocalLauncher:
    """Launches one run's attempts with ``engine``.

    ``images`` gives an image's root by digest (and may unpack it first), ``token`` is the service's, ``environment`` is
    where secrets are looked up. Groups for limits are made in ``cgroups``. ``unfiltered`` environments' tasks may make
    every system call. ``limits`` are what the project says of all its tasks. ``nameserver`` answers in the sandboxes'
    ``network``; ``None``: the host's own do. ``warm``: actions are forks of an interpreter of their image where that
    can be (see ``warm``), and ``libraries`` is what these import before it; why one was not is in the run's
    ``workers/cold.log``; ``company`` says for whose first action one is started. ``waits`` says whether an action only
    waits for its children (see ``replicas``). ``pods`` is what tasks' pods need, ``apps`` are served while it lasts,
    ``bank`` has the devices that actions were given.
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
    libraries: Libraries = field(default_factory=lambda: Libraries({}))
    company: Company | None = None
    waits: Callable[[str], bool] = lambda _: False
    pods: Pods = field(default_factory=Pods)
    apps: RunApps = field(default_factory=RunApps)
    bank: Bank = field(default_factory=Bank)
    _groups: Groups = field(init=False)
    _pool: Pool = field(init=False)
    _replicas: Replicas[Replica] = field(init=False)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _roots: dict[str, ImageRoot] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)
    _settling: Settling = field(init=False)
    _beginnings: Beginnings = field(init=False)
    _watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_groups", Groups(self.cgroups, self.folder.name, self._say))
        object.__setattr__(self, "_beginnings", Beginnings(self.folder))
        object.__setattr__(self, "_settling", Settling(self.folder))
        object.__setattr__(self, "_watch", Watch(self.folder, self.limits, self._say))
        scratch, logs = self.folder.scratch, self.folder.workers
        pool = Pool(
            self.engine, scratch, logs, shared(self.folder), self.cgroups, MOST_PIDS, self._note, self.warm,
            libraries=self.libraries.wanted, company=self.company,
        )  # fmt: skip
        object.__setattr__(self, "_pool", pool)
        object.__setattr__(self, "_replicas", Replicas(self.waits, self._say, self._clean_replica))
        self.bank.lacked = lambda: self._replicas.relieve(lambda replica: bool(self.bank.of(replica.scratch.name)))

    async def close(self) -> None:
        """End what outlives an attempt. Nothing is launched after it."""
        await self._replicas.close()
        await self._pool.close()
        await self.apps.close()
        self._beginnings.close()

    async def launch(self, request: LaunchRequest) -> Outcome:
        """See :class:`~.action.Launcher`. A missing secret or image is an outcome, not an exception."""
        try:
            image = self._roots.get(request.image)
            if image is None:
                image = self._roots[request.image] = await asyncio.to_thread(self.images, request.image)
            request = resolving(request)
            secrets = resolve(request.secrets, self.environment)
            posed = pose(self.pods, request, image, self.environment, self.folder, self._say)
            if posed is not None:
                request, image = posed.request, posed.image
            if (failed := await self.apps.of(request).ready()) is not None:
                return failed
            return await self._launch(request, image, secrets, posed)
        except MissingSecret as e:
            return Outcome(1, "error", str(e), "MissingSecret")
        except Unplaceable as e:
            return Outcome(1, "error", str(e) if e.hint is None else f"{e}; {e.hint}", "Unplaceable", "user")
        except FlyteBuildError as e:
            return Outcome(1, "error", e.message if e.hint is None else f"{e.message}; {e.hint}", "ImageUnusable")

    async def _launch(self, request: LaunchRequest, image: ImageRoot, secrets: Secrets, posed: Posed | None) -> Outcome:
        apps = self.apps.of(request)
        env = environment(image, request, secrets, self.token, apps.env, apps.hosts)
        binds = tuple(Mount(source, target) for source, target in image.binds)
        filtered = request.environment not in self.unfiltered
        bare = Sandbox(image.root, image.python, binds, network=self.network, filtered=filtered)
        alone = apps.parted or (posed is not None and not posed.pod.plain)
        if alone and request.reuse is not None:
            self._say("tasks with apps, or pod templates of more than variables, are no replicas here")
        if request.reuse is not None and self.warm and not alone:
            key = f"{key_of(image.digest, bare, env)} {request.environment} {request.reuse}"
            start = partial(self._replica, request, image, bare, env, secrets)
            async with self._replicas.place(key, request, start) as replica:
                if replica is not None:
                    return await self._reused(request, image, replica)
        if alone or self.bank.count(request.resources):
            # A fork has no way to a device of its worker's; and what the driver keeps of a process survives no fork.
            waits = partial(self.waits, request.action)
            async with self.bank.held(request.action, request.resources, waits):
                return await self._attempt(request, image, bare, env, secrets, None, posed)
        async with self._pool.worker(bare, image.digest, request.args, env, request.environment) as worker:
            return await self._attempt(request, image, bare, env, secrets, worker, posed)

    async def _replica(
        self, request: LaunchRequest, image: ImageRoot, bare: Sandbox, env: Mapping[str, str], secrets: Secrets
    ) -> Replica:
        """A replica of the environment of ``request``. Raises :class:`Lost`."""
        name = f"replica{next(self._numbers)}"
        furnish = partial(self._furnish, name, request, image, self.folder.scratch / name, env)
        limits = partial(self._limits, request)
        itself = partial(self._replicas.waiting, lambda replica: replica.scratch.name == name)
        await self.bank.wait(name, request.resources, itself)
        try:
            return await started(name, self.folder, self.engine, bare, request, image, secrets, furnish, limits)
        except BaseException:
            self.bank.give(name)
            raise

    async def _furnish(
        self, holder: str, request: LaunchRequest, image: ImageRoot, scratch: Path, env: Mapping[str, str]
    ) -> tuple[tuple[Mount, ...], Mapping[str, str]]:
        """What a sandbox has mounted, and ``env`` with what it is told of its devices, which are ``holder``'s."""
        parts = image, scratch, self.folder, self.network, self.nameserver, self.apps.of(request).hosts
        mounts = await asyncio.to_thread(mounts_of, *parts)
        if devices := self.bank.of(holder):
            if self.bank.shared(holder):
                self._say("tasks share a GPU with those that wait for them: this machine has no other")
            given = self.bank.gpus, devices, image.root, env, request.env, scratch
            more, env = await asyncio.to_thread(granted, *given)
            mounts = (*mounts, *more)
        return mounts, env

    async def _reused(self, request: LaunchRequest, image: ImageRoot, replica: Replica) -> Outcome:
        """An attempt in a replica. What several have in their folders is nobody's alone, and counts for none."""
        own = own_places(replica.mounts, replica.scratch) if replica.policy.concurrency == 1 else []
        with self._settling.of(request, image, replica.mounts), self._beginnings.of(request) as begins:
            async with self._watch.over(request, own, MEMORY_BACKED) as watched:
                watched.runs(replica.running)
                outcome = await self._replicas.outcome(replica, request, begins.within(request.timeout))
                watched.then = partial(self._settling.taken_over, request, outcome)
                watched.soon = partial(self._settling.taken_over_soon, request, outcome)
            return watched.outcome or watched.came_to or outcome

    async def _attempt(
        self,
        request: LaunchRequest,
        image: ImageRoot,
        bare: Sandbox,
        env: Mapping[str, str],
        secrets: Secrets,
        worker: Worker | None,
        posed: Posed | None,
    ) -> Outcome:
        above = self.folder.scratch if worker is None else worker.scratch
        scratch = above / f"{request.action}-{request.attempt}"
        group = None
        try:
            mounts, env = await self._furnish(request.action, request, image, scratch, env)
            box = replace(bare, mounts=mounts, tmpfs=memory_backed(request, secrets))
            files = {f"{SECRETS}/{name}": value for name, value in secrets.files.items()}
            berth = Berth(request.task, box, request.args, env, workdir(image), request.log, files, request.resources)
            self.apps.of(request).join(berth)
            ground = self._ground(request)
            made = Furnished(berth)
            if posed is not None:
                made = await asyncio.to_thread(posed.furnished, berth, ground, scratch)
            if worker is None:
                await asyncio.to_thread(collecting_late, made.task, image.root, scratch)
            group = self._limits(request)
            with self._settling.of(request, image, made.task.box.mounts), self._beginnings.of(request) as begins:
                async with (
                    self._watch.over(request, made.places(scratch), MEMORY_BACKED) as watched,
                    made.up(ground, request) as no,
                ):
                    ran = no or await self._run(request, made.task, group, watched, worker, begins)
                    outcome = no or await made.end(ran, scratch)
                    watched.then = partial(self._settling.taken_over, request, outcome)
                return watched.outcome or watched.came_to or outcome
        finally:
            # Shielded: also a cancelled attempt leaves nothing behind.
            await asyncio.shield(asyncio.to_thread(clean, scratch, group))

    async def settle(
        self, action: str, document: str, target: Path, kind: Literal["inputs", "outputs"], limit: int = door.INLINE
    ) -> None:
        """See :class:`~.action.Launcher`."""
        await self._settling.settle(action, document, target, kind, limit)

    async def fetch(self, document: Path) -> None:
        """See :class:`~.action.Launcher`. Sandboxes write where it is read."""

    async def _run(
        self,
        request: LaunchRequest,
        berth: Berth,
        group: Group | None,
        watched: Watched,
        worker: Worker | None,
        begins: Beginning,
    ) -> Outcome:
        running: process.Process | Forked | None = None
        if worker is not None:
            running = await self._pool.start(
                worker, berth.box, berth.argv, berth.env, berth.cwd, output=berth.log, forward=True, files=berth.files,
                join=group.join if group is not None else (),
            )  # fmt: skip
        if running is None:
            running = await launched(self.engine, berth, group, forward=True)
        watched.runs(running)
        try:
            async with begins.within(request.timeout):
                code = await running.wait()
        except TimeoutError:
            return Outcome(await running.stop(), "timeout")
        except asyncio.CancelledError:
            await running.stop()
            raise
        if (limited := stopped_by(group, code, request.resources)) is not None:
            return limited
        if worker is not None and isinstance(running, Forked) and await running.ended() is None and await worker.died():
            return Outcome(code, "lost", "the interpreter that it was a fork of ended")
        return Outcome(code)

    def _limits(self, request: LaunchRequest) -> Group | None:
        asked = request.resources
        for line in self.bank.lines(asked):
            self._say(line)
        return self._groups.of(f"{request.action}-{request.attempt}", asked)

    def _ground(self, request: LaunchRequest) -> Ground:
        def group(name: str, asked: Resources) -> Group | None:
            return self._groups.of(f"{request.action}-{request.attempt}-{name}", asked)

        filtered = request.environment not in self.unfiltered
        return Ground(self.engine, self.network, self.nameserver, filtered, self.pods.image, group, self._say)

    def _note(self, message: str) -> None:
        self.folder.workers.mkdir(exist_ok=True)
        with open(self.folder.workers / "cold.log", "a", encoding="utf-8") as f:
            f.write(f"{message}\n")

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self.observer.warn(message)

    async def _clean_replica(self, replica: Replica) -> None:
        await asyncio.to_thread(clean, replica.scratch, replica.group)
        self.bank.give(replica.scratch.name)
