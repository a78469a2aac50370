"""Requests to a cluster's API by the loop itself: the two that each action has, its Job made and its log read.

A thread for each costs more than what it says, as it is woken up, waits for the interpreter and wakes the loop up.
Connections are made as all others are, with their trust and their names; what is said over them is said here, without
blocking. What is asked again, and when, is as :class:`~.api.Cluster` has it. For one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..latch import Latch
from .api import ANSWER_SECONDS, ApiError, Cluster
from .refusals import TRIES, again, pause, refusal, unreachable
from .wire import Answer, asking

__all__ = ["Straight"]

# So many requests are on their way at once, each over a connection of its own, which is kept.
_MOST = 16
# Credentials are asked for anew after so long (seconds): that may read a file, or run a program.
_CREDENTIALS = 5.0
# So often it is looked whether somebody waits for too long; for so long an answer is waited for that nobody wants any
# more (seconds).
_LOOK, _CANCELLED = 2.0, 10.0
_PIECE = 1 << 16
_LATER = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Straight:
    """Asks ``cluster``; where that is not to be had so (a proxy is between), in threads."""

    def __init__(self, cluster: Cluster, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._cluster = cluster
        self._sleep = sleep
        self._room = asyncio.Semaphore(_MOST)
        self._lines: set[_Line] = set()
        self._idle: list[_Line] = []
        self._overdue: asyncio.TimerHandle | None = None
        self._head: tuple[float, bytes] | None = None

    def close(self) -> None:
        """Nothing is asked any more."""
        if self._overdue is not None:
            self._overdue.cancel()
        for line in tuple(self._lines):
            line.close()

    async def create(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """As :meth:`~.api.Cluster.create`."""
        path = self._cluster.path(kind)
        answer = await self._patiently("POST", path, {}, json.dumps(value).encode(), ANSWER_SECONDS)
        if answer is None:
            return await asyncio.to_thread(self._cluster.create, kind, value)
        try:
            found = json.loads(answer or b"{}")
        except ValueError as e:
            raise ApiError(0, "BadAnswer", f"POST {self._cluster.host}{path}: expected JSON, found: {e}") from None
        return found if isinstance(found, dict) else {}

    async def text(self, kind: str, name: str, query: Mapping[str, str], seconds: float) -> bytes:
        """As :meth:`~.api.Cluster.text`; asked again where the API is busy, or says nothing."""
        path = self._cluster.path(kind, name)
        answer = await self._patiently("GET", path, query, None, seconds, (0, 429))
        return await asyncio.to_thread(self._cluster.text, path, query, seconds) if answer is None else answer

    # -- one request --------------------------------------------------------------------------------------

    async def _patiently(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None,
        seconds: float,
        passing: tuple[int, ...] = (),
    ) -> bytes | None:
        """As :meth:`_ask`, again and again; only after an answer of those that are ``passing``, where any are."""
        failure: ApiError | None = None
        for attempt in range(TRIES):
            if attempt:
                await self._sleep(pause(attempt, failure))
            try:
                return await self._ask(method, path, query, body, seconds)
            except ApiError as e:
                failure = e
                if e.status == 401 and not attempt:  # what is known of who one is was good a moment ago
                    self._head = None
                elif not again(e, attempt) or (passing and e.status not in passing):
                    raise
        assert failure is not None
        raise failure

    async def _ask(
        self, method: str, path: str, query: Mapping[str, str], body: bytes | None, seconds: float
    ) -> bytes | None:
        """What is answered, at most ``seconds`` without a byte; ``None`` where it can't be asked here.

        Raises :class:`ApiError`.
        """
        where = f"{self._cluster.host}{path}"
        async with self._room:
            try:
                sent = asking(method, self._cluster.target(path, query), await self._said_of_us(), body)
                line = await self._line()
                if line is None:
                    return None
                self._look()
                answer = await line.ask(sent, seconds, to_its_end=body is not None)
            except (OSError, ValueError) as e:
                raise unreachable(method, where, e) from None
            if line.open:
                self._idle.append(line)
        if 200 <= answer.status < 300:
            return answer.said()
        after = answer.headers.get("retry-after")
        raise refusal(method, where, answer.status, answer.reason, answer.said()[:_PIECE], after)

    async def _said_of_us(self) -> bytes:
        now = time.monotonic()
        if self._head is None or now - self._head[0] > _CREDENTIALS:
            self._head = now, await asyncio.to_thread(self._cluster.head)
        return self._head[1]

    async def _line(self) -> _Line | None:
        """One that is open, as far as one knows: the one used last, or a new one. Raises OSError."""
        while self._idle:
            if (line := self._idle.pop()).open:
                return line
        made = await asyncio.to_thread(self._cluster.connection)
        return _Line(made, self._lines) if made is not None else None

    def _look(self) -> None:
        """See from now on that nobody waits for too long."""
        if self._overdue is None:
            self._overdue = asyncio.get_running_loop().call_later(_LOOK, self._late)

    def _late(self) -> None:
        self._overdue = None
        now = time.monotonic()
        waited = [line.late(now) for line in tuple(self._lines)]
        if any(waited):
            self._look()


class _Line:
    """One connection (``made`` holds its socket), of those that are in ``lines`` as long as they are ``open``.

    It is listened to always: what comes when nothing was asked is its end.
    """

    def __init__(self, made: Any, lines: set[_Line]) -> None:
        self._made = made
        self._socket: socket.socket = made.sock
        self._tls = self._socket if isinstance(self._socket, ssl.SSLSocket) else None
        self._lines = lines
        self._loop = asyncio.get_running_loop()
        self._answer: Answer | None = None
        self._failure: Exception | None = None
        self._done = Latch()
        # What is not sent yet, and whether it is waited for that it can be.
        self._left, self._waits = b"", False
        self._seconds = self._heard = 0.0
        self.open = True
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._readable)
        lines.add(self)

    async def ask(self, sent: bytes, seconds: float, *, to_its_end: bool) -> Answer:
        """Send it, and give the answer. Raises OSError and ValueError; the connection is closed then.

        So it is for whoever is cancelled, ``to_its_end`` after the answer, or ten seconds: what undoes what was asked
        must not be done before it.
        """
        self._answer, self._failure = answer, _ = Answer(), None
        self._done.clear()
        self._seconds, self._heard = seconds, time.monotonic()
        self._left = sent
        self._writable()
        try:
            await self._done.wait()
        except asyncio.CancelledError:
            if to_its_end:
                with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                    async with asyncio.timeout(_CANCELLED):
                        await self._done.wait()
            self.close()
            raise
        if self._failure is not None:
            raise self._failure
        return answer

    def late(self, now: float) -> bool:
        """Whether an answer is waited for, and no longer than it may be; else that is its failure."""
        if self._answer is not None and now - self._heard > self._seconds:
            self._failed(TimeoutError(f"nothing came for {self._seconds:g} s"))
        return self._answer is not None

    def close(self) -> None:
        if self.open:
            self.open = False
            self._lines.discard(self)
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket)
                self._loop.remove_writer(self._socket)
            self._made.close()

    def _failed(self, why: Exception) -> None:
        self.close()
        if self._answer is not None:
            self._answer, self._failure = None, why
            self._done.set()

    def _writable(self) -> None:
        count = 0
        try:
            with contextlib.suppress(*_LATER):
                count = self._socket.send(self._left)
        except OSError as e:
            return self._failed(e)
        self._left = self._left[count:]
        if self._left and not self._waits:
            self._loop.add_writer(self._socket, self._writable)
        elif self._waits and not self._left:
            self._loop.remove_writer(self._socket)
        self._waits = bool(self._left)
        return None

    def _readable(self) -> None:
        while True:
            try:
                data = self._socket.recv(_PIECE)
            except _LATER:
                return None
            except OSError as e:
                return self._failed(e)
            answer = self._answer
            if answer is None:
                return self.close()
            self._heard = time.monotonic()
            try:
                answer.take(data) if data else answer.end()
            except ValueError as e:
                return self._failed(e)
            if answer.over:
                self._answer = None
                if not (data and answer.keep):
                    self.close()
                return self._done.set()
            if not data:
                return self._failed(ConnectionResetError("the connection was closed before there was an answer"))
            if self._tls is None or not self._tls.pending():
                return None
