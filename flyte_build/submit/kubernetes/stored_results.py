"""Earlier outcomes in object storage: those of the task cache and of resumed runs, which every pod reaches by itself.

tasks/<entry>.json      where the outputs of an equal call are
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flyteidl2.task import common_pb2
from google.protobuf.message import DecodeError

from ...kernel.documents import parse_object
from ...kernel.errors import RunError
from .. import door
from ..action import OUTPUTS, REPORT
from ..references import references
from .mirror import Mirror

__all__ = ["TASKS", "StoredResults"]

TASKS = "tasks"
_MOST_ENTRY = 1 << 16


class StoredResults:
    """See :class:`~..results.Results`."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._locks: dict[str, asyncio.Lock] = {}

    async def find(self, entry: str, *, has_outputs: bool, max_age: float | None) -> str | None:
        try:
            data = await self._mirror.get(f"{TASKS}/{entry}.json", _MOST_ENTRY)
            found = parse_object(data or b"")
            uri, made = str(found["output_uri"]), float(found["at"])
        except (OSError, RunError, ValueError, KeyError, TypeError):
            return None
        if max_age is not None and time.time() - made > max_age:
            return None
        return uri if not has_outputs or await self.intact(uri) else None

    async def put(self, entry: str, uri: str) -> None:
        data = json.dumps({"output_uri": uri, "at": time.time()}).encode()
        await self._mirror.put(f"{TASKS}/{entry}.json", data)

    @asynccontextmanager
    async def alone(self, entry: str) -> AsyncIterator[None]:
        """Among the actions of this run: those of another may compute the same at the same time."""
        async with self._locks.setdefault(entry, asyncio.Lock()):
            yield

    async def intact(self, uri: str) -> bool:
        key = self._key(uri)
        try:
            data = await self._mirror.get(f"{key}/{OUTPUTS}", door.LARGEST) if key is not None else None
            if data is None:
                return False
            keys = [self._key(u) for u in references(common_pb2.Outputs.FromString(data))]
            return all(await asyncio.gather(*(self._mirror.has(k) for k in keys if k)))
        except (OSError, RunError, ValueError, DecodeError):
            return False

    async def has(self, document: str) -> bool:
        key = self._key(document)
        return key is not None and await self._mirror.has(key)

    async def show(self, document: str) -> None:
        """Pods see all of the storage."""

    async def report(self, uri: str) -> str:
        return f"{uri}/{REPORT}" if await self.has(f"{uri}/{REPORT}") else ""

    def _key(self, uri: str) -> str | None:
        """The object's key; ``None`` for what is elsewhere."""
        base = f"{self._mirror.url}/"
        return uri.removeprefix(base) if uri.startswith(base) and ".." not in uri.split("/") else None
