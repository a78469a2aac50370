"""A run whose service also answers what tasks ask of a backend, spoken to by the SDK's own client classes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from flyte_build.submit.action import LaunchRequest, Outcome
from flyte_build.submit.control.application import Control
from flyte_build.submit.service import Service, serve_on
from tests.support.engine import World


class Asked:
    """``ask(talk)``: ``talk(address)`` while the root of a run runs, with the service at ``address``."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        for path in (self.world.folder.bundles, self.world.folder.kept, self.world.folder.raw):
            path.mkdir(parents=True)
        self.control = Control()

    def ask(self, talk: Callable[[str], Awaitable[Any]], after: Callable[[], object] = lambda: None) -> Any:
        """``after``: called when the root has ended, before its child runs are waited for."""
        world = self.world
        said: list[Any] = []

        async def go() -> None:
            listener = socket.create_server(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{listener.getsockname()[1]}/token"

            async def main(request: LaunchRequest) -> Outcome:
                said.append(await talk(address))
                return Outcome(0)

            world.launcher.bodies["main"] = main
            routes = self.control.routes(world.engine, world.facts, world.observer)
            async with serve_on(Service(world.engine, world.run, routes), listener, "token"):
                try:
                    await world.engine.enqueue(world.task("main"))
                    record = await world.engine.wait("a0")
                    after()
                    await world.engine.rest()
                finally:
                    await world.engine.close()
                    world.journal.close()
            assert record.error is None, record.error

        asyncio.run(asyncio.wait_for(go(), 20))
        return said[0]


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)
