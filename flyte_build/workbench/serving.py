"""``serve``: an app environment on this machine, in a sandbox of its image, until somebody ends it.

What is served is what a run would serve. A change of the code opens the project anew and makes its images ready, while
the old version is still there; where that comes to nothing the old one stays, and why is told. Never prints.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..kernel.errors import FlyteBuildError, InputError, LoadError, RunError
from ..kernel.patience import patiently
from ..kernel.scratch import scratch
from ..project.apps import bundle_of, read_app
from ..project.nouns import Environment
from ..submit.apps import Apps
from ..submit.loop import run_apart
from ..submit.ports import serve_port
from ..submit.roots import Roots
from ..submit.sandbox.entrance import Entrance, entrance
from ..submit.sandbox.spec import Network
from ..submit.served import ServedApp, ground_for
from .apps import served
from .called import Called
from .opened import OpenProject
from .readiness import make_ready
from .signatures import require_signed
from .snapshots import snapshot

__all__ = ["Audience", "ServeOptions", "app_named", "serve"]

_LOOK_SECONDS = 0.3


class Audience(Protocol):
    """Who hears of what is served."""

    def ready(self, url: str) -> None:
        """It answers at ``url``, now or again."""

    def printed(self, lines: str) -> None:
        """What the app printed, whole lines."""

    def changed(self, files: Sequence[str]) -> None:
        """These files of the project changed: it is made ready anew."""

    def failed(self, error: FlyteBuildError) -> None:
        """The new version is not served."""

    def ended(self, code: int) -> None:
        """The app ended by itself; a change of the code starts it again."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """``port`` of this machine's loopback: by default the app's own, or a free one where that is taken. ``reload``: a
    change of the code is served. The rest is as :class:`RunOptions` has it."""

    port: int | None = None
    reload: bool = True
    network: Network | None = None
    caches: tuple[str, ...] = ()
    check: bool = True
    locked: bool = False


@dataclass(frozen=True, slots=True)
class _Version:
    """One state of the code, which lay as ``lay`` before it was read: the apps that are served, ``main`` among them."""

    apps: tuple[ServedApp, ...]
    main: ServedApp
    bundle: Path
    roots: Roots
    engine: Entrance
    root: Path
    lay: Mapping[str, tuple[int, int]]
    unfiltered: frozenset[str]
    say: Callable[[str], object]


def app_named(environments: Mapping[str, Environment], name: str | None) -> Environment:
    """The app environment that is meant: the only one, where no name is given. Raises :class:`LoadError`."""
    apps = [e for e in environments.values() if e.app is not None]
    chosen = [e for e in apps if name in (None, e.name)]
    if len(chosen) == 1:
        return chosen[0]
    have = ", ".join(e.name for e in apps) or "none"
    if name is None and apps:
        raise LoadError(f"{len(apps)} app environments: {have}", hint="name the one that is to be served")
    raise LoadError(
        f"no app environment{f' `{name}`' if name else ''}; there are: {have}",
        hint=None if apps else "an app is a `flyte.app.AppEnvironment` that the file makes",
    )


def serve(
    open_anew: Callable[[], OpenProject],
    name: str | None,
    options: ServeOptions,
    audience: Audience,
    stop: threading.Event,
) -> None:
    """Serve the app until ``stop`` is set. ``open_anew`` opens the project as it is then.

    Raises what opening and making ready raise at first, :class:`SandboxError`, :class:`InputError` for a port that is
    taken, and :class:`RunError` for an app that ends where nothing is reloaded.
    """
    with scratch() as folder:
        run_apart(_Serving(open_anew, name, options, audience, stop, folder).go())


class _Serving:
    def __init__(
        self,
        open_anew: Callable[[], OpenProject],
        name: str | None,
        options: ServeOptions,
        audience: Audience,
        stop: threading.Event,
        folder: Path,
    ) -> None:
        self._open_anew, self._name, self._options = open_anew, name, options
        self._audience, self._stop, self._folder = audience, stop, folder
        self._count = 0
        self._port: int | None = None
        self._server: asyncio.Server | None = None
        self._path: Path | None = None

    async def go(self) -> None:
        version: _Version | None = await asyncio.to_thread(self._prepare)
        with patiently("what is served is ended"):
            try:
                while version is not None:
                    version = await self._one(version)
            finally:
                if self._server is not None:
                    self._server.close()

    # -- one version -----------------------------------------------------------------------------------

    async def _one(self, version: _Version) -> _Version | None:
        """Serve ``version`` until there is another, which is given, or none is wanted."""
        before = version.lay
        self._count += 1
        folder = self._folder / str(self._count)
        ground = ground_for(
            version.engine, version.roots.get, version.bundle, folder, version.unfiltered, version.say, os.environ
        )
        apps = Apps(version.apps, ground)
        printing = asyncio.create_task(self._print(ground.logs / f"app-{version.main.name}.log"))
        try:
            starting = asyncio.create_task(apps.ready())
            if not await self._either(starting):
                starting.cancel()
                return None
            failed = starting.result()
            if failed is not None:
                self._gone(RunError(failed.message))
            else:
                url = await self._lead(version, ground.scratch / f"{version.main.name}.sock")
                self._audience.ready(url)
                up = apps.up(version.main.name)
                assert up is not None
                ended = asyncio.create_task(up.running.wait())
                changed = asyncio.create_task(self._changed(version.root, before))
                going = await self._either(ended, changed)
                changed.cancel()
                if not going:
                    return None
                if ended.done():
                    self._ended(version.main.name, ended.result())
            return await self._next(version.root, before)
        finally:
            await asyncio.shield(apps.close())
            printing.cancel()
            await asyncio.wait([printing])

    def _gone(self, error: FlyteBuildError) -> None:
        if not self._options.reload:
            raise error
        self._audience.failed(error)

    def _ended(self, name: str, code: int) -> None:
        if not self._options.reload:
            raise RunError(f"app {name} ended with exit code {code}")
        self._audience.ended(code)

    async def _next(self, root: Path, before: Mapping[str, tuple[int, int]]) -> _Version | None:
        """The next version that can be made ready, once the code has changed; ``None``: it is to end."""
        while True:
            changed = asyncio.create_task(self._changed(root, before))
            if not await self._either(changed):
                changed.cancel()
                return None
            self._audience.changed(changed.result())
            before = await asyncio.to_thread(snapshot, root)
            try:
                return await asyncio.to_thread(self._prepare, before)
            except FlyteBuildError as e:
                self._audience.failed(e)

    async def _either(self, *waited: asyncio.Task[object]) -> bool:
        """Wait for the first of them; whether it is to go on."""
        while not self._stop.is_set():
            done, _ = await asyncio.wait(waited, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return True
        return False

    async def _changed(self, root: Path, before: Mapping[str, tuple[int, int]]) -> list[str]:
        """The files that are not as they were, once there are any; for ever, where nothing is reloaded."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._options.reload and (now := await asyncio.to_thread(snapshot, root)) != before:
                return sorted(name for name in {*now, *before} if now.get(name) != before.get(name))

    async def _print(self, log: Path) -> None:
        """Tell what is printed, as it comes, and at last what is left of it."""
        told = 0
        try:
            while True:
                told += self._tell(log, told)
                await asyncio.sleep(0.1)
        finally:
            self._tell(log, told, all_of_it=True)

    def _tell(self, log: Path, told: int, *, all_of_it: bool = False) -> int:
        try:
            with open(log, "rb") as f:
                f.seek(told)
                new = f.read()
        except OSError:
            return 0
        if not all_of_it:
            new = new[: new.rfind(b"\n") + 1]
        if new:
            self._audience.printed(new.decode(errors="replace"))
        return len(new)

    # -- the port -----------------------------------------------------------------------------------------

    async def _lead(self, version: _Version, path: Path) -> str:
        """Let a port of the loopback lead to this version; its URL."""
        self._path = path
        own = version.engine.network == "host"
        wanted = self._options.port
        if own and wanted in (None, version.main.port):
            return f"http://127.0.0.1:{version.main.port}"
        if self._server is None:
            listener = bound(version.main.port, wanted)
            self._port = int(listener.getsockname()[1])
            port = version.main.port if own else None
            self._server = await serve_port(listener, lambda: port if port is not None else self._path)
        return f"http://127.0.0.1:{self._port}"

    # -- what is served -----------------------------------------------------------------------------------

    def _prepare(self, lay: Mapping[str, tuple[int, int]] | None = None) -> _Version:
        options = self._options
        bench = self._open_anew()
        if lay is None:
            lay = snapshot(bench.root)
        environment = app_named(bench.environments, self._name)
        reached = bench.workspace.environments([environment.name])
        ready = make_ready(
            bench, reached, options.caches, check=options.check, locked=options.locked, network=options.network
        )
        settings = bench.settings(network=options.network)
        require_signed(settings, ready.images, bench.reporter)
        engine = entrance(None, settings.network, [self._folder, bench.store.root])
        if self._count == 0:
            for sentence in engine.said:
                bench.reporter.warn(sentence)
        project = bench.workspace.project
        with bench.modules.entered():
            bundle = bundle_of(project, environment, self._folder / f"code{time.monotonic_ns()}")
            mark = hashlib.sha256(bundle.read_bytes()).hexdigest()
            apps = tuple(
                served(read_app(project, e, mark), ready.images[e.name], bench.reporter.warn)
                for e in reached
                if e.app is not None
            )
        called = Called(bench.reporter, ready.images)
        roots = Roots(bench.store.root, bench.store.blobs, engine, called)
        for app in apps:
            roots.get(app.image)
        main = next(app for app in apps if app.name == environment.name)
        return _Version(
            apps, main, bundle, roots, engine, bench.root, lay, frozenset(settings.unfiltered), bench.reporter.warn
        )


def bound(own: int, wanted: int | None) -> socket.socket:
    """A socket that listens on the loopback: at ``wanted``, else at the app's ``own`` port, else at a free one."""
    for port in (own, 0) if wanted is None else (wanted,):
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError as e:
            reason = e.strerror
    raise InputError(f"port {wanted} of this machine: {reason}", hint="give another with `--port`, or leave it out")
