"""The workers of a run: which actions can be forks, of what, and for how long an idle worker is kept.

A worker is for one image, network, filter and whole environment (secrets in it, too): what a cold process would read at
import, it has read. It never knows a user's code. Where an image's imports leave something that a fork would lack or
share, or this machine refuses what it takes, actions are cold, and why is said once to who wants to know. So is the
first action of an environment that is not known for more than one (see ``company``), without a word.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from ...kernel import seccomp
from ...kernel.cgroups import Cgroups, Group
from ...kernel.values import dataclass, field, replace
from ..sandbox import process
from ..sandbox.engines import init_mount
from ..sandbox.namespaces import description
from ..sandbox.spec import SOCKET, Engine, Mount, Sandbox, Tmpfs
from .company import Company
from .forked import PATIENCE, Forked, Lost, begin, readable
from .told import IMAGE, NEVER, PLACE, PRELOAD, command, key_of, last_line, programs, whole

__all__ = ["Pool", "Worker"]

# linux/sched.h: mount, IPC and UTS namespaces; network
_NAMESPACES, _NEWNET = 0x00020000 | 0x08000000 | 0x04000000, 0x40000000
MOST_IDLE = 4
IDLE_SECONDS = 30.0
MEMORY = 1 << 30
_TOLD = 1 << 16


@dataclass(slots=True, eq=False)
class Worker:
    """One worker, ``scratch`` (in which its actions' folders are) as it sees them, and how many it has in hand."""

    key: str
    label: str
    scratch: Path
    mounts: tuple[Mount, ...]
    running: process.Process
    control: socket.socket
    networks: socket.socket
    group: Group | None
    libraries: Sequence[str] = ()
    actions: int = 0
    timer: asyncio.TimerHandle | None = None

    @property
    def alive(self) -> bool:
        return self.running.alive

    async def died(self) -> bool:
        """Whether it ended, or does so just now: its fork that ended without a word may have been the first to know."""
        await asyncio.wait([asyncio.ensure_future(self.running.wait())], timeout=1.0)
        return not self.alive

    async def attach(self, pid: int) -> int:
        """Give the namespaces of the process ``pid`` a way out, which is there until the descriptor is closed."""
        (ready, tell), (lifeline, keep) = os.pipe(), os.pipe()
        try:
            try:
                socket.send_fds(self.networks, [str(pid).encode()], [tell, lifeline])
            finally:
                os.close(tell)
                os.close(lifeline)
            await readable(ready)
            if os.read(ready, 1) != b"1":
                raise OSError("its network did not come up")
        except BaseException:
            os.close(keep)
            raise
        finally:
            os.close(ready)
        return keep

    def sees(self, source: Path) -> str:
        """Where the worker has what is at ``source`` on the host; raises ValueError where it has not."""
        # As texts: an action has some twenty places, and paths are taken apart anew by every comparison.
        here = str(source)
        for mount in self.mounts:
            top = str(mount.source)
            if here == top or here.startswith(f"{top}/"):
                return mount.target + here[len(top) :]
        raise ValueError(f"{source} is nowhere in the worker's sandbox")


@dataclass(slots=True, eq=False)
class Pool:
    """``scratch`` is the folder in which workers' actions have their own, ``logs`` where workers write.

    ``shared`` are the host's files and folders that actions have mounted, besides their image and scratch. ``note`` is
    told why an image's actions are cold, ``libraries`` says what a worker imports for an action besides ``preload``,
    ``company`` for which environments' first action a worker is started: for all of them, where it is not given. For
    one event loop.
    """

    engine: Engine
    scratch: Path
    logs: Path
    shared: Sequence[Mount]
    cgroups: Cgroups
    pids: int
    note: Callable[[str], object]
    open: bool = True
    preload: Sequence[str] = PRELOAD
    libraries: Callable[[Sequence[str]], tuple[str, ...]] = lambda _: ()
    company: Company | None = None
    _workers: dict[str, Worker] = field(default_factory=dict)
    _cold: dict[str, str] = field(default_factory=dict)
    _starting: dict[str, asyncio.Lock] = field(default_factory=dict)
    _ending: set[asyncio.Task[None]] = field(default_factory=set)
    _told: set[str] = field(default_factory=set)
    _count: int = 0

    @contextlib.asynccontextmanager
    async def worker(
        self, bare: Sandbox, image: str, argv: Sequence[str], env: Mapping[str, str], label: str
    ) -> AsyncIterator[Worker | None]:
        """A worker for the action of the environment ``label``, for as long as it needs it; ``None``: it is to be cold.

        ``bare`` is its sandbox with nothing that is its own: what its image (with the digest ``image``) has.
        """
        worker, key, without = None, "", ""
        could = self.open and argv[:1] == ("a0",) and not any(name in env for name in NEVER)
        if could and (self.company is None or self.company.joins(bare.root, label)):
            # One that cannot have a library may do without.
            for names in dict.fromkeys((self.libraries(argv), ())):
                key = key_of(image, bare, env, names)
                worker = await self._held(key, label, bare, env, names)
                if worker is not None:
                    break
                without = f"actions of {label} import {', '.join(names)} themselves: {self._cold[key]}"
            if worker is not None and without and without not in self._told:
                self._told.add(without)
                self.note(without)
        if worker is None:
            yield None
            return
        try:
            yield worker
        finally:
            worker.actions -= 1
            if worker.actions == 0:
                self._rest(key, worker)
            if not worker.alive:
                self._refuse(key, label, "its worker ended")

    async def start(
        self,
        worker: Worker,
        box: Sandbox,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        *,
        output: Path,
        forward: bool = False,
        files: Mapping[str, str] | None = None,
        join: Sequence[Path] = (),
    ) -> Forked | None:
        """Run ``argv`` in a fork of ``worker``, as ``sandbox.process.start`` would.

        ``None`` where it does not begin: then nothing of it is left, and it is to be cold.
        """
        mounts = tuple(Mount(Path(worker.sees(m.source)), m.target, m.writable) for m in box.mounts)
        seen = description(replace(box, root=Path(IMAGE), mounts=mounts))
        own = {"argv": list(argv), "env": dict(env), "cwd": cwd, "files": files}
        header = {**own, "socket": SOCKET if forward else None, "box": seen}
        try:
            attach = worker.attach if box.network == "internet" else None
            return await begin(worker.control, header, output=output, join=join, attach=attach)
        except Lost as e:
            self._refuse(worker.key, worker.label, str(e), worker.libraries)
            return None

    async def close(self) -> None:
        """End every worker, and all that lives in one."""
        for key in list(self._workers):
            await self._end(key)
        await asyncio.gather(*self._ending)
        if self.company is not None:
            self.company.end()

    async def _held(
        self, key: str, label: str, bare: Sandbox, env: Mapping[str, str], libraries: Sequence[str]
    ) -> Worker | None:
        """The worker with this key, which has one action more in hand; ``None`` where there can be none."""
        if key in self._cold:
            return None
        async with self._starting.setdefault(key, asyncio.Lock()):
            worker = self._workers.get(key)
            if worker is not None and not worker.alive:
                await self._end(key)
                worker = None
            if worker is None and key not in self._cold:
                try:
                    worker = self._workers[key] = await self._start(key, label, bare, env, libraries)
                except Lost as e:
                    self._refuse(key, label, str(e), libraries)
            if worker is not None:
                worker.actions += 1
                if worker.timer is not None:
                    worker.timer.cancel()
            return worker

    # -- one worker -----------------------------------------------------------------------------------------------

    async def _start(
        self, key: str, label: str, box: Sandbox, env: Mapping[str, str], libraries: Sequence[str]
    ) -> Worker:
        self._count += 1
        name = f"warm{self._count}"
        scratch = self.scratch / name
        scratch.mkdir(parents=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        places = (Mount(box.root, IMAGE), Mount(scratch, f"{PLACE}/scratch", writable=True))
        mounts = (init_mount(), *programs(), *self.shared, *places, *box.mounts)
        asks, gives = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        tmpfs = Tmpfs("/run"), Tmpfs("/tmp"), Tmpfs("/dev/shm")
        nest = replace(box, mounts=mounts, tmpfs=tmpfs, nests=True, offers=gives.fileno())
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        calls = seccomp.program(os.uname().machine) if box.filtered else None
        config = {
            "program": "worker",
            "control": theirs.fileno(),
            "preload": [*self.preload, *libraries],
            "unshare": _NAMESPACES | (_NEWNET if box.network != "host" else 0),
            "attached": box.network == "internet",
            "filter": None if calls is None else base64.b64encode(calls).decode(),
        }
        log = self.logs / f"{name}.log"
        own_env = whole(env)
        group = None
        try:
            with contextlib.suppress(OSError):
                group = self.cgroups.create(name, memory=MEMORY, cpu=None, pids=self.pids)
            running = await process.start(
                self.engine, nest, command(box, config), own_env, "/", output=log,
                join=() if group is None else group.join, inherit=[theirs.fileno(), gives.fileno()],
            )  # fmt: skip
        except BaseException:
            ours.close()
            asks.close()
            if group is not None:
                group.remove()
            raise
        finally:
            theirs.close()
            gives.close()
        worker = Worker(key, label, scratch, mounts, running, ours, asks, group, libraries)
        try:
            async with asyncio.timeout(PATIENCE):
                await readable(ours)
            said = json.loads(ours.recv(_TOLD) or b"{}")
            if not isinstance(said, dict) or "ready" not in said:
                why = said.get("refused") if isinstance(said, dict) else None
                raise Lost(str(why)[:500] if why else last_line(log))
        except BaseException as e:
            await asyncio.shield(_stop(worker))
            if isinstance(e, OSError | ValueError):
                raise Lost(str(e) or "it was not ready in time") from e
            raise
        return worker

    def _refuse(self, key: str, label: str, why: str, libraries: Sequence[str] = ()) -> None:
        if key not in self._cold:
            self._cold[key] = why
            if not libraries:
                self.note(f"actions of {label} start cold, not as forks: {why}")

    def _rest(self, key: str, worker: Worker) -> None:
        """Nobody needs it now: for a while it is kept, as one of a few."""
        idle = [k for k, w in self._workers.items() if w.actions == 0]
        for other in idle[: max(len(idle) - MOST_IDLE, 0)]:
            self._soon(other)
        # The youngest is the last.
        if self._workers.get(key) is worker:
            self._workers[key] = self._workers.pop(key)
            worker.timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._soon, key)

    def _soon(self, key: str) -> None:
        task = asyncio.get_running_loop().create_task(self._end_idle(key))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end_idle(self, key: str) -> None:
        if key in self._workers and self._workers[key].actions == 0:
            await self._end(key)

    async def _end(self, key: str) -> None:
        worker = self._workers.pop(key)
        if worker.timer is not None:
            worker.timer.cancel()
        await _stop(worker)


async def _stop(worker: Worker) -> None:
    worker.control.close()
    worker.networks.close()
    await worker.running.stop(grace=1)  # it ends by itself, for nobody asks any more
    if worker.group is not None:
        await asyncio.to_thread(worker.group.remove)
