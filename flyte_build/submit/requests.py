"""What people ask of a run while it runs: give a condition its value, abort it. Left where the run's driver looks.

A request is a small JSON document in the run's ``requests``: a folder of this machine, or a prefix of object storage;
so whoever reaches the storage can ask, and nobody needs to reach the driver. It is done, and then removed.

    {"signal": "<action or the condition's name>", "value": "<flyteidl2.core.Literal in hex>"}
    {"abort": "<who asked>"}
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol

from flyteidl2.core import literals_pb2
from google.protobuf.message import DecodeError

from ..kernel.documents import parse_object
from ..kernel.errors import FlyteBuildError
from .engine import Engine, NotFound
from .observer import Observer
from .storage import RunFolder

__all__ = ["FolderInbox", "Inbox", "obey", "request_name"]

MOST = 1 << 20
"""Bytes that a request may have."""


def request_name() -> str:
    """A fresh name for a request; they are obeyed in the order of their names."""
    return f"{time.time_ns():020d}-{secrets.token_hex(4)}.json"


class Inbox(Protocol):
    """Where requests are."""

    pause: float
    """Seconds between two looks."""

    async def look(self) -> list[tuple[str, bytes]]:
        """All that are there, by name, in their order. Raises OSError or :class:`FlyteBuildError`."""

    async def done(self, name: str) -> None:
        """It is there no more. Raises OSError or :class:`FlyteBuildError`."""


class FolderInbox:
    """The folder ``requests`` of a run on this machine, which no task sees."""

    pause = 0.5

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder.requests

    async def look(self) -> list[tuple[str, bytes]]:
        return await asyncio.to_thread(self._look)

    def _look(self) -> list[tuple[str, bytes]]:
        paths = sorted(self._folder.glob("*.json"))
        return [(p.name, p.read_bytes() if p.stat().st_size <= MOST else b"") for p in paths]

    async def done(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    @staticmethod
    def put(folder: RunFolder, request: bytes) -> None:
        """Leave ``request``; raises OSError."""
        folder.requests.mkdir(mode=0o700, exist_ok=True)
        path = folder.requests / request_name()
        partial = path.with_suffix(".part")
        partial.write_bytes(request)
        partial.rename(path)


@contextlib.asynccontextmanager
async def obey(inbox: Inbox, engine: Engine, observer: Observer) -> AsyncIterator[None]:
    """Do what is asked for the time of the block."""
    looking = asyncio.create_task(_look(inbox, engine, observer))
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait([looking])


async def _look(inbox: Inbox, engine: Engine, observer: Observer) -> None:
    while True:
        with contextlib.suppress(OSError, FlyteBuildError):  # it is looked at again
            for name, data in await inbox.look():
                try:
                    await _do(parse_object(data), engine, functools.partial(inbox.done, name))
                except NotFound as e:
                    observer.warn(f"somebody signals {e}, and no condition of that name waits")
                except (ValueError, KeyError, TypeError, DecodeError) as e:
                    observer.warn(f"a request to this run cannot be read: {e}")
                await inbox.done(name)
        await asyncio.sleep(inbox.pause)


async def _do(request: Mapping[str, Any], engine: Engine, done: Callable[[], Awaitable[None]]) -> None:
    if "abort" in request:
        await done()  # before: it shall not end whoever resumes this run
        engine.abort_all()
        return
    value = literals_pb2.Literal.FromString(bytes.fromhex(request["value"]))
    name = str(request["signal"])
    waiting = engine.waiting(name)
    await engine.signal(waiting or name, value)
    # In the journal before the request is gone: the driver may be killed between the two.
    await engine.wait(waiting or name)
