"""Apps for the time of a run, or of ``serve``: each in a sandbox of its image, found under one pattern of names.

The SDK's ``app.endpoint`` makes a URL of a pattern in which only the app's name is filled in. So every app has a name
of its own below ``localhost``, an address of its own in the sandboxes' loopback, and the same port as all others. A
connection waits until its app answers, and is refused once the app has ended.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..kernel.errors import FlyteBuildError
from .action import ImageRoot, Outcome, Resources, SecretRef
from .berth import Berth, launched
from .fresh import HOME, folders_of, names, shm_of, workdir
from .groups import Groups
from .ports import carry, listening, reach
from .removal import remove_left
from .sandbox.cgroups import Cgroups, Group
from .sandbox.engines import init_mount
from .sandbox.entrance import Entrance
from .sandbox.process import Process
from .sandbox.spec import Engine, Mount, Network, Sandbox, Tmpfs
from .secrets import MOUNT as SECRETS
from .secrets import MissingSecret, resolve
from .storage import BUNDLES, RunFolder
from .template import fill

__all__ = ["Apps", "Ground", "ServedApp", "Up", "apps_of_run", "start"]

PATTERN = "INTERNAL_APP_ENDPOINT_PATTERN"
PORT = 47080
# Seconds in which an app has to answer.
PATIENCE = 300.0
RAW = "/mnt/flyte/apps"


@dataclass(frozen=True, slots=True)
class ServedApp:
    """``argv`` may name ``{{.codeBundle}}`` and ``{{.rawOutputDataPrefix}}``; ``image`` is a manifest's digest."""

    name: str
    image: str
    argv: tuple[str, ...]
    port: int
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[SecretRef, ...] = ()
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True, slots=True)
class Ground:
    """What apps stand on. ``bundle`` is the code on this machine; ``scratch`` a folder of its own, ``logs`` where they
    write. ``filtered`` says of an environment whether its system calls are; ``say`` hears what nobody asks for."""

    engine: Engine
    network: Network
    nameserver: str | None
    images: Callable[[str], ImageRoot]
    group: Callable[[str, Resources], Group | None]
    environment: Mapping[str, str]
    bundle: Path
    scratch: Path
    logs: Path
    filtered: Callable[[str], bool]
    say: Callable[[str], object]


class Others(Protocol):
    """The apps that an app may reach."""

    @property
    def hosts(self) -> Mapping[str, str]: ...

    @property
    def env(self) -> Mapping[str, str]: ...

    def join(self, berth: Berth) -> None: ...


@dataclass(slots=True)
class Up:
    """An app that was started."""

    app: ServedApp
    running: Process
    group: Group | None
    log: Path
    scratch: Path
    _ready: int
    _listener: socket.socket | None
    _answers: asyncio.Future[bool] | None = None

    async def ready(self, patience: float = PATIENCE) -> str | None:
        """Wait until it answers; why it does not. Whoever asks again is told the same."""
        loop = asyncio.get_running_loop()
        if self._answers is None:
            answers = self._answers = loop.create_future()

            def heard() -> None:
                loop.remove_reader(self._ready)
                if not answers.done():
                    answers.set_result(bool(os.read(self._ready, 1)))

            loop.add_reader(self._ready, heard)
        ended = asyncio.ensure_future(self.running.wait())
        waited: list[asyncio.Future[Any]] = [self._answers, ended]
        done, _ = await asyncio.wait(waited, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if self._answers in done and self._answers.result() and self.running.alive:
            return None
        if ended in done or self._answers in done:
            return f"app {self.app.name} ended with exit code {await ended}: {self.log}{last_lines(self.log)}"
        return f"app {self.app.name} did not answer on port {self.app.port} within {patience:g} s: {self.log}"

    async def stop(self) -> int:
        """End it, and remove what it had; its exit code."""
        if self._answers is not None and not self._answers.done():
            asyncio.get_running_loop().remove_reader(self._ready)
            self._answers.cancel()
        os.close(self._ready)
        if self._listener is not None:
            self._listener.close()
        code = await self.running.stop()
        if self.group is not None:
            await asyncio.to_thread(self.group.remove)
        await asyncio.to_thread(remove_left, self.scratch)
        return code


async def start(app: ServedApp, ground: Ground, listener: socket.socket | None, to: Others | None = None) -> Up:
    """Start ``app``, which answers on ``listener`` where it has a loopback of its own; ``to``: with ways to others.

    Raises what its image raises, :class:`MissingSecret`, and ``OSError`` for a port of this machine that is taken.
    """
    image = await asyncio.to_thread(ground.images, app.image)
    scratch = ground.scratch / app.name
    berth = await asyncio.to_thread(_berth, app, ground, image, scratch, to)
    if to is not None:
        to.join(berth)
    if listener is None:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(("127.0.0.1", app.port))
    else:
        berth.serves.append((listener, app.port))
    ready, tell = os.pipe()
    os.set_blocking(ready, False)
    berth.awaits = (app.port, tell)
    group = ground.group(f"app-{app.name}", app.resources)
    try:
        running = await launched(ground.engine, berth, group)
    finally:
        os.close(tell)
    return Up(app, running, group, berth.log, scratch, ready, listener)


def _berth(app: ServedApp, ground: Ground, image: ImageRoot, scratch: Path, to: Others | None) -> Berth:
    remove_left(scratch)
    scratch.mkdir(parents=True)
    raw = scratch / "raw"
    raw.mkdir()
    secrets = resolve(app.secrets, ground.environment)
    mounts = (
        init_mount(),
        *folders_of(image, scratch),
        *names(scratch, ground.network, ground.nameserver, to.hosts if to is not None else {}),
        Mount(ground.bundle.parent, BUNDLES),
        Mount(raw, RAW, writable=True),
    )
    memory = (Tmpfs("/run"), Tmpfs("/mnt/flyte"), Tmpfs(SECRETS), shm_of(app.resources))
    box = Sandbox(image.root, image.python, mounts, memory, ground.network, ground.filtered(app.name))
    env = {
        "HOME": HOME,
        "USER": "flyte",
        "LOGNAME": "flyte",
        "PYTHONUNBUFFERED": "1",
        **dict(item.partition("=")[::2] for item in image.env),
        **app.env,
        **secrets.env,
        **(to.env if to is not None else {}),
    }
    argv = fill(app.argv, {"codeBundle": f"{BUNDLES}/{ground.bundle.name}", "rawOutputDataPrefix": RAW})
    ground.logs.mkdir(parents=True, exist_ok=True)
    files = {f"{SECRETS}/{name}": value for name, value in secrets.files.items()}
    log = ground.logs / f"app-{app.name}.log"
    return Berth(app.name, box, argv, env, workdir(image), log, files, app.resources)


class Apps:
    """The apps of one run. They are started when the first action wants them, and end with ``close``."""

    def __init__(self, apps: Sequence[ServedApp] = (), ground: Ground | None = None) -> None:
        self._apps = apps if ground is not None else ()
        self._given = ground
        self._addresses = {app.name: f"127.77.0.{number}" for number, app in enumerate(apps, 1)}
        self._up: list[Up] = []
        self._servers: list[asyncio.Server] = []
        self._starting = asyncio.Lock()
        self._port = PORT
        self._failed: Outcome | None = None

    @property
    def _ground(self) -> Ground:
        assert self._given is not None
        return self._given

    @property
    def parted(self) -> bool:
        """Whether there are apps, each with a loopback of its own."""
        return bool(self._apps) and self._ground.network != "host"

    @property
    def hosts(self) -> dict[str, str]:
        """Addresses by the names that apps are found under."""
        return {f"{name}.localhost": address for name, address in self._addresses.items()}

    @property
    def env(self) -> dict[str, str]:
        """What tasks are told."""
        return {} if not self._apps else {PATTERN: f"http://{{app_fqdn}}.localhost:{self._port}"}

    async def ready(self) -> Outcome | None:
        """Every app answers; else the outcome of whoever wanted them."""
        if not self._apps:
            return None
        async with self._starting:
            if not self._up and self._failed is None:
                self._failed = await self._start()
        return self._failed

    def join(self, berth: Berth) -> None:
        """Let ``berth`` reach the apps."""
        if self.parted:
            for app in self._apps:
                if app.name != berth.name:
                    reach(berth, self._port, self._ground.scratch / f"{app.name}.sock", self._addresses[app.name])

    async def close(self) -> None:
        """End them all."""
        for server in self._servers:
            server.close()
        for up in self._up:
            if not up.running.alive and self._failed is None:
                self._ground.say(f"app {up.app.name} ended with exit code {await up.running.wait()}: {up.log}")
        await asyncio.gather(*(up.stop() for up in self._up))
        self._up.clear()

    async def _start(self) -> Outcome | None:
        self._ground.scratch.mkdir(parents=True, exist_ok=True)
        try:
            if self._ground.network == "host":
                await self._open()
            listeners = {app.name: self._listener(app) for app in self._apps}
            for app in self._apps:
                self._up.append(await start(app, self._ground, listeners[app.name], self))
        except (OSError, MissingSecret, FlyteBuildError) as e:
            why = f"port {app.port} of this machine: {e.strerror}" if isinstance(e, OSError) else str(e)
            return Outcome(1, "error", f"app {app.name}: {why}", "AppFailed", "user")
        for said in await asyncio.gather(*(up.ready() for up in self._up)):
            if said is not None:
                return Outcome(1, "error", said, "AppFailed", "user")
        return None

    def _listener(self, app: ServedApp) -> socket.socket | None:
        return None if self._ground.network == "host" else listening(self._ground.scratch / f"{app.name}.sock")

    async def _open(self) -> None:
        """Where sandboxes have the host's loopback, the ways to apps are opened here, on a port that is free."""
        for app in self._apps:
            address = self._addresses[app.name]
            port = self._port if self._servers else 0
            server = await asyncio.start_server(_to(app.port), address, port)
            self._port = server.sockets[0].getsockname()[1]
            self._servers.append(server)


def apps_of_run(
    apps: Sequence[ServedApp],
    engine: Entrance,
    folder: RunFolder,
    images: Callable[[str], ImageRoot],
    bundle: Path,
    cgroups: Cgroups,
    environment: Mapping[str, str],
    unfiltered: Collection[str],
    say: Callable[[str], object],
) -> Apps:
    """``apps`` for the time of the run in ``folder``, with its code ``bundle``."""
    groups = Groups(cgroups, folder.name, say)
    ground = Ground(
        engine, engine.network, engine.nameserver, images, groups.of, environment, bundle, folder.scratch / "apps",
        folder.workers, lambda name: name not in unfiltered, say,
    )  # fmt: skip
    return Apps(apps, ground)


def _to(port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await carry(reader, writer, asyncio.open_connection("127.0.0.1", port))

    return lead


def last_lines(log: Path) -> str:
    """The end of what it printed, for a message."""
    try:
        with open(log, "rb") as f:
            f.seek(max(log.stat().st_size - 1500, 0))
            found = f.read().decode(errors="replace").strip()
    except OSError:
        return ""
    return f"\n{found}" if found else ""
