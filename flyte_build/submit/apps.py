"""Apps for the time of a run, or of ``serve``: each in a sandbox of its image, found under one pattern of names.

The SDK's ``app.endpoint`` makes a URL of a pattern in which only the app's name is filled in. So every app has a name
of its own below ``localhost``, an address of its own in the sandboxes' loopback, and the same port as all others. A
connection waits until its app answers, and is refused once the app has ended.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence

from ..kernel.errors import FlyteBuildError
from .action import Outcome
from .berth import Berth
from .ports import carry, listening, reach
from .secrets import MissingSecret
from .served import Ground, ServedApp, Up, start

__all__ = ["Apps"]

PATTERN = "INTERNAL_APP_ENDPOINT_PATTERN"
PORT = 47080


class Apps:
    """Apps that find each other. They are started when the first action wants them, and end with ``close``."""

    def __init__(self, apps: Sequence[ServedApp] = (), ground: Ground | None = None) -> None:
        self._apps: list[ServedApp] = []
        self._given = ground
        self._addresses: dict[str, str] = {}
        self._started: set[str] = set()
        self._up: list[Up] = []
        self._servers: list[asyncio.Server] = []
        self._starting = asyncio.Lock()
        self._port = PORT
        self._failed: Outcome | None = None
        self.add(apps if ground is not None else ())

    def add(self, apps: Iterable[ServedApp]) -> None:
        """Serve these, too; those that are there by their names stay as they are."""
        for app in apps:
            if app.name not in self._addresses:
                self._addresses[app.name] = f"127.77.0.{len(self._apps) + 1}"
                self._apps.append(app)

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
            new = [app for app in self._apps if app.name not in self._started]
            if new and self._failed is None:
                self._started |= {app.name for app in new}
                self._failed = await self._start(new)
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

    async def _start(self, apps: Sequence[ServedApp]) -> Outcome | None:
        self._ground.scratch.mkdir(parents=True, exist_ok=True)
        up: list[Up] = []
        try:
            if self._ground.network == "host":
                await self._open(apps)
            listeners = {app.name: self._listener(app) for app in apps}
            for app in apps:
                up.append(await start(app, self._ground, listeners[app.name], self))
                self._up.append(up[-1])
        except (OSError, MissingSecret, FlyteBuildError) as e:
            why = f"port {app.port} of this machine: {e.strerror}" if isinstance(e, OSError) else str(e)
            return Outcome(1, "error", f"app {app.name}: {why}", "AppFailed", "user")
        for said in await asyncio.gather(*(one.ready() for one in up)):
            if said is not None:
                return Outcome(1, "error", said, "AppFailed", "user")
        return None

    def _listener(self, app: ServedApp) -> socket.socket | None:
        return None if self._ground.network == "host" else listening(self._ground.scratch / f"{app.name}.sock")

    async def _open(self, apps: Sequence[ServedApp]) -> None:
        """Where sandboxes have the host's loopback, the ways to apps are opened here, on a port that is free."""
        for app in apps:
            address = self._addresses[app.name]
            port = self._port if self._servers else 0
            server = await asyncio.start_server(_to(app.port), address, port)
            self._port = server.sockets[0].getsockname()[1]
            self._servers.append(server)


def _to(port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await carry(reader, writer, asyncio.open_connection("127.0.0.1", port))

    return lead
