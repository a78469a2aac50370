"""A run's journal in object storage, where nothing can be appended to: in pieces that are written anew until they are
large.

    <run>/journal/<driver>-<piece>.jsonl
    <run>/actions/<action>.pb            each action as it was enqueued, before it is taken on

Whatever was published is stored before anybody hears of it. All that comes while one piece is being stored, and in a
moment after it, is stored with the next, so a thousand actions that end at once cost a few requests. Each driver of a
run has pieces of its own, by its number: one that was thought dead cannot write over its successor's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flyteidl2.actions import actions_service_pb2
from google.protobuf.message import DecodeError

from ...kernel.documents import parse_object
from ...kernel.errors import FlyteBuildError, RunError
from ..journal import ActionRecord, Journal
from .mirror import Mirror

__all__ = ["Pieces", "StoredJournal", "claim", "read_actions", "read_stored"]

_PIECE = 64 << 10
_MOST_PIECE = 32 << 20
_NAME = re.compile(r"(\d{6})-(\d{6})\.jsonl")
# Seconds between two writes of a piece for each entry that the last one brought, at most so many of them; and how many
# pass before what nobody waits for is written.
_MOMENT, _MOST_MOMENTS, _MOMENTS = 0.02, 10, 20
_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)


class StoredJournal(Journal):
    """The writing end, of the driver ``number`` of ``run``. ``path`` has the same here, for who reads it meanwhile."""

    def __init__(self, path: Path, mirror: Mirror, run: str, number: int) -> None:
        super().__init__(path)
        self._mirror = mirror
        self._run = run
        self._number = number
        self._count = 1  # the piece 0 is the claim
        self._piece = bytearray()
        self._here = 0  # bytes of the piece that ``path`` has
        self._stored = 0  # and that the storage has
        self._new = 0  # entries since the last write
        self._next: asyncio.Future[None] | None = None
        self._storing: asyncio.Task[None] | None = None

    async def append(self, entry: dict[str, Any], *, durable: bool = False) -> None:
        """See :class:`Journal`; it is stored when this returns, whether or not it is ``durable``."""
        if self._file.closed:
            raise OSError("the journal is closed")
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        waiting = self._next
        self.note(entry)
        await asyncio.shield(waiting)

    def note(self, entry: Mapping[str, Any]) -> None:
        """Have ``entry`` stored with what comes next, or in a moment: nobody waits for it, and it may be lost."""
        if self._file.closed:
            return
        self._piece += json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        self._new += 1
        if self._storing is None:
            self._storing = asyncio.create_task(self._store())

    async def enqueued(self, action: actions_service_pb2.Action, record: ActionRecord, *, again: bool) -> None:
        """Store it; ``again``: the journal says as well that it has not ended, as it says that it had."""
        data = action.SerializeToString(deterministic=True)
        await self._mirror.put(f"{self._run}/actions/{record.name}.pb", data)
        if again:
            await self.action(record)

    async def _store(self) -> None:
        """Store what there is until there is nothing new. What cannot be stored is told to who waits for it, once it
        was tried for a minute, and stored with what comes next."""
        while self._next is not None or len(self._piece) > self._stored:
            for _ in range(_MOMENTS):
                if self._next is not None:
                    break
                await asyncio.sleep(_MOMENT)
            waiting, self._next = self._next, None
            new, self._new = self._new, 0
            await self._store_piece(waiting)
            # Each time the whole piece is stored: the more there is to store, the more of it goes together.
            await asyncio.sleep(_MOMENT * min(new, _MOST_MOMENTS))
        self._storing = None

    async def _store_piece(self, waiting: asyncio.Future[None] | None) -> None:
        key = f"{self._run}/journal/{self._number:06d}-{self._count:06d}.jsonl"
        data = bytes(self._piece)
        try:
            while self._here < len(data):
                self._here += self._file.write(data[self._here :])
            await self._put(key, data)
        except Exception as e:  # whatever it is: who waits would wait for ever
            self._stored = len(data)  # nothing to come back for until there is more
            if waiting is not None:
                waiting.set_exception(OSError(str(e)))
                waiting.exception()  # whoever waited may have gone
            return
        self._stored = len(data)
        if len(data) >= _PIECE:
            self._count += 1
            del self._piece[: len(data)]
            self._here -= len(data)
            self._stored = 0
        if waiting is not None:
            waiting.set_result(None)

    async def _put(self, key: str, data: bytes) -> None:
        for pause in _PAUSES:
            with contextlib.suppress(FlyteBuildError, OSError):
                await self._mirror.put(key, data)
                return
            await asyncio.sleep(pause)
        await self._mirror.put(key, data)


async def claim(mirror: Mirror, run: str) -> int:
    """The number of a new driver of ``run``: higher than any before, and nobody else's."""
    while True:
        there = [_NAME.fullmatch(key.rpartition("/")[2]) for key in await mirror.keys(f"{run}/journal")]
        number = max((int(found[1]) for found in there if found), default=0) + 1
        try:
            await mirror.put(f"{run}/journal/{number:06d}-000000.jsonl", b'{"driver": %d}\n' % number, new=True)
        except FileExistsError:
            continue
        return number


async def read_stored(mirror: Mirror, run: str) -> list[dict[str, Any]]:
    """The entries of all pieces, in their order. Raises :class:`RunError`."""
    return await Pieces(mirror, run).new()


class Pieces:
    """The reading end, which remembers how far it came. ``idle`` seconds have passed since there was something new."""

    def __init__(self, mirror: Mirror, run: str) -> None:
        self._mirror = mirror
        self._run = run
        self._read: dict[str, int] = {}  # key → bytes that were read
        self._last = time.monotonic()

    @property
    def idle(self) -> float:
        return time.monotonic() - self._last

    async def new(self) -> list[dict[str, Any]]:
        """The entries that were not there before. Raises :class:`RunError`."""
        sizes = await self._mirror.keys(f"{self._run}/journal")
        keys = [k for k, size in sizes.items() if _NAME.fullmatch(k.rpartition("/")[2]) and size > self._read.get(k, 0)]
        pieces = await asyncio.gather(*(self._mirror.get(key, _MOST_PIECE) for key in keys))
        found: list[dict[str, Any]] = []
        for key, piece in zip(keys, pieces, strict=True):
            data = piece or b""
            found += _entries(f"{self._mirror.url}/{key}", data[self._read.get(key, 0) :])
            self._read[key] = len(data)
        if found:
            self._last = time.monotonic()
        return found


def _entries(where: str, piece: bytes | None) -> Iterator[dict[str, Any]]:
    for number, line in enumerate((piece or b"").splitlines(), 1):
        try:
            yield parse_object(line)
        except ValueError as e:
            raise RunError(
                f"{where}:{number}: expected a JSON object, found {line[:80]!r}",
                hint="the run's journal was changed by hand; start the run anew",
            ) from e


async def read_actions(mirror: Mirror, run: str) -> dict[str, actions_service_pb2.Action]:
    """Every action of ``run`` as it was enqueued, by name. Raises :class:`RunError`."""
    keys = list(await mirror.keys(f"{run}/actions"))
    slots = asyncio.Semaphore(32)

    async def one(key: str) -> actions_service_pb2.Action:
        async with slots:
            data = await mirror.get(key)
        try:
            return actions_service_pb2.Action.FromString(data or b"")
        except DecodeError:
            raise RunError(f"{mirror.url}/{key}: expected an action, found something else") from None

    found = await asyncio.gather(*(one(key) for key in keys))
    return {action.action_id.name: action for action in found if action.action_id.name}
