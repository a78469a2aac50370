"""Apps for the time of a run, or of ``serve``: each in a sandbox of its image, found under one pattern of names.

The SDK's ``app.endpoint`` makes a URL of a pattern in which only the app's name is filled in. So every app has a name
of its own below ``localhost``, an address of its own in the sandboxes' loopback, and the same port as all others. A
connection waits until its app answers, and is refused once the app has ended.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path

from ..kernel.cgroups import Cgroups
from ..kernel.errors import FlyteBuildError
from .action import ImageRoot, Outcome
from .berth import Berth
from .groups import Groups
from .ports import carry, listening, reach
from .sandbox.entrance import Entrance
from .secrets import MissingSecret
from .served import Ground, ServedApp, Up, start
from .storage import RunFolder

__all__ = ["Apps", "apps_of_run"]

PATTERN = "INTERNAL_APP_ENDPOINT_PATTERN"
PORT = 47080


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

    def up(self, name: str) -> Up | None:
        """The app called ``name``, where it was started."""
        return next((up for up in self._up if up.app.name == name), None)

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
