"""One app in a sandbox of its image: started, waited for until it answers on its port, and ended.

Knows nothing of other apps but that there is a way to them (see ``apps``).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from ..kernel.cgroups import Cgroups, Group
from ..kernel.values import dataclass, field
from .action import ImageRoot, Resources, SecretRef
from .berth import Berth, launched
from .fresh import HOME, folders_of, names, shm_of, workdir
from .groups import Groups
from .removal import remove_left
from .sandbox.engines import init_mount
from .sandbox.entrance import Entrance
from .sandbox.process import Process
from .sandbox.spec import Engine, Mount, Network, Sandbox, Tmpfs
from .secrets import MOUNT as SECRETS
from .secrets import resolve
from .storage import BUNDLES
from .template import fill

__all__ = ["Ground", "ServedApp", "Up", "ground_for", "start"]

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

    def to_json(self) -> dict[str, Any]:
        """As a deployed task keeps it; secrets are named, no more."""
        return {
            "name": self.name, "image": self.image, "argv": list(self.argv), "port": self.port, "env": dict(self.env),
            "secrets": [[s.key, s.group, s.env] for s in self.secrets],
            "cpu": self.resources.cpu, "memory": self.resources.memory, "shm": self.resources.shm,
        }  # fmt: skip

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> ServedApp:
        """Raises LookupError, TypeError and ValueError for what is none."""
        return cls(
            str(told["name"]), str(told["image"]), tuple(map(str, told["argv"])), int(told["port"]),
            {str(k): str(v) for k, v in dict(told["env"]).items()}, tuple(SecretRef(*s) for s in told["secrets"]),
            Resources(told["cpu"], told["memory"], told["shm"]),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ground:
    """What apps stand on. ``bundle`` is the code on this machine; ``scratch`` a folder of its own, ``logs`` where they
    write. ``filtered`` says of an environment whether its system calls are; ``say`` hears what nobody asks for.
    ``mark`` follows their names where others of the run may have the same."""

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
    mark: str = ""


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
    group = ground.group(f"app-{app.name}{ground.mark}", app.resources)
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
    log = ground.logs / f"app-{app.name}{ground.mark}.log"
    return Berth(app.name, box, argv, env, workdir(image), log, files, app.resources)


def ground_for(
    engine: Entrance,
    images: Callable[[str], ImageRoot],
    bundle: Path,
    folder: Path,
    unfiltered: Collection[str],
    say: Callable[[str], object],
    environment: Mapping[str, str],
) -> Ground:
    """What apps without a run stand on, all of it in ``folder``."""
    cgroups = Cgroups.detect()
    cgroups.sweep()
    groups = Groups(cgroups, f"serve-{os.getpid()}", say)
    return Ground(
        engine, engine.network, engine.nameserver, images, groups.of, environment, bundle, folder / "apps",
        folder / "logs", lambda name: name not in unfiltered, say,
    )  # fmt: skip


def last_lines(log: Path) -> str:
    """The end of what it printed, for a message."""
    try:
        with open(log, "rb") as f:
            f.seek(max(log.stat().st_size - 1500, 0))
            found = f.read().decode(errors="replace").strip()
    except OSError:
        return ""
    return f"\n{found}" if found else ""
