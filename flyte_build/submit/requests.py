"""What people ask of a run while it runs: give a condition its value, abort it. Left where the run's driver looks.

A request is a small JSON document in the run's ``requests``: a folder of this machine, or a prefix of object storage;
so whoever reaches the storage can ask, and nobody needs to reach the driver. It is done once and then removed.

    {"signal": "<action or the condition's name>", "value": "<flyteidl2.core.Literal in hex>"}
    {"abort": "<who asked>"}
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from flyteidl2.core import literals_pb2
from google.protobuf.message import DecodeError

from ..kernel.documents import parse_object
from ..kernel.errors import FlyteBuildError
from .action import ROOT_ACTION
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

    async def take(self) -> list[bytes]:
        """All that are there, which are then there no more. Raises OSError or :class:`FlyteBuildError`."""


class FolderInbox:
    """The folder ``requests`` of a run on this machine, which no task sees."""

    pause = 0.5

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder.requests

    async def take(self) -> list[bytes]:
        return await asyncio.to_thread(self._take)

    def _take(self) -> list[bytes]:
        found = []
        for path in sorted(self._folder.glob("*.json")):
            if path.stat().st_size <= MOST:
                found.append(path.read_bytes())
            path.unlink()
        return found

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
            for data in await inbox.take():
                try:
                    await _do(parse_object(data), engine)
                except NotFound as e:
                    observer.warn(f"somebody signals {e}, and no condition of that name waits")
                except (ValueError, KeyError, TypeError, DecodeError) as e:
                    observer.warn(f"a request to this run cannot be read: {e}")
        await asyncio.sleep(inbox.pause)


async def _do(request: Mapping[str, Any], engine: Engine) -> None:
    if "abort" in request:
        with contextlib.suppress(NotFound):
            await engine.abort(ROOT_ACTION)
        return
    value = literals_pb2.Literal.FromString(bytes.fromhex(request["value"]))
    name = str(request["signal"])
    waiting = engine.waiting(name)
    await engine.signal(waiting if waiting is not None else name, value)
