"""Replicas of reusable environments: how many there are, which action is in which, and how each of them ends.

They are started when actions need them, up to the policy's most; each takes as many actions at once as the policy says.
One that is idle ends after ``scaledown`` seconds unless it is among the fewest, and all do after ``idle`` seconds in
which the environment had nothing to do, or with the run. Actions that wait for their children hold their place: where
nobody else is left to end, one replica more than the policy's is started, for otherwise nothing would ever go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..action import LaunchRequest, Outcome, ReusePolicy
from ..sandbox import process
from ..sandbox.cgroups import Group
from ..sandbox.process import GRACE_SECONDS
from ..sandbox.spec import Mount
from .forked import PATIENCE, Lost, readable

__all__ = ["Replica", "Replicas"]

LARGEST = 1 << 17
_LOOK_SECONDS = 0.2


@dataclass(slots=True, eq=False)
class Replica:
    """One process, whose files are in ``scratch``. ``ended`` is there once it is."""

    running: process.Process
    control: socket.socket
    mounts: tuple[Mount, ...]
    scratch: Path
    group: Group | None
    policy: ReusePolicy
    actions: set[str] = field(default_factory=set)
    drained: bool = False
    ended: bool = False
    timer: asyncio.TimerHandle | None = None
    _flights: dict[int, asyncio.Future[int | None]] = field(default_factory=dict)
    _count: int = 0

    @property
    def free(self) -> bool:
        return not self.ended and not self.drained and len(self.actions) < self.policy.concurrency

    def listen(self) -> None:
        asyncio.get_running_loop().add_reader(self.control, self._hear)

    def _hear(self) -> None:
        """Its words are a hostile process's: what is none of ours ends it."""
        try:
            said = json.loads(self.control.recv(4096))
            flight, code, changed = self._flights.pop(said["id"]), int(said["code"]) & 0xFF, said.get("changed")
        except BlockingIOError:
            return
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            self._close()  # nothing at all is said at its end
            return
        if not flight.done():
            flight.set_result(code)
        self.drained = self.drained or bool(changed)

    def _close(self) -> None:
        if not self.ended:
            self.ended = True
            asyncio.get_running_loop().remove_reader(self.control)
            self.control.close()
            for flight in self._flights.values():
                if not flight.done():
                    flight.set_result(None)

    async def run(self, request: LaunchRequest, within: AbstractAsyncContextManager[None]) -> int | None:
        """Run it; ``None`` where the replica ended meanwhile. Raises TimeoutError once the action is ended for that.

        ``within`` holds it to its timeout (see ``beginning``).
        """
        self._count += 1
        number = self._count
        flight = self._flights[number] = asyncio.get_running_loop().create_future()
        log = os.open(request.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            socket.send_fds(self.control, [json.dumps({"id": number, "argv": request.args}).encode()], [log])
        except OSError:
            self._close()
        finally:
            os.close(log)
        try:
            async with within:
                return await asyncio.shield(flight)
        except (TimeoutError, asyncio.CancelledError):
            await self._cancel(number, flight)
            raise

    async def _cancel(self, number: int, flight: asyncio.Future[int | None]) -> None:
        """Ask the action to end. One that does not is the last of its replica, which takes no others from now on."""
        with contextlib.suppress(OSError):
            self.control.send(json.dumps({"cancel": number}).encode())
        if not self.ended and self.policy.concurrency > 1:
            await asyncio.wait([flight], timeout=GRACE_SECONDS)
        if not flight.done():
            self.drained = True

    async def stop(self) -> int:
        """End it, and all that is in it."""
        self._close()
        if self.timer is not None:
            self.timer.cancel()
        return await self.running.stop(grace=0)


@dataclass(slots=True, eq=False)
class _Environment:
    policy: ReusePolicy
    replicas: list[Replica] = field(default_factory=list)
    starting: int = 0
    waiting: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class Replicas:
    """``waits`` says whether an action only waits for its children; ``say`` is told what its user should know.

    ``clean`` removes what a replica that ended leaves. For one event loop.
    """

    waits: Callable[[str], bool]
    say: Callable[[str], object]
    clean: Callable[[Replica], Awaitable[object]]
    _environments: dict[str, _Environment] = field(default_factory=dict)
    _refused: dict[str, str] = field(default_factory=dict)
    _suspects: set[str] = field(default_factory=set)
    _ending: set[asyncio.Task[None]] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def place(
        self, key: str, request: LaunchRequest, start: Callable[[], Awaitable[Replica]]
    ) -> AsyncIterator[Replica | None]:
        """A place for the action in a replica, ``start`` making a new one; ``None``: it is to have its own process."""
        assert request.reuse is not None
        large = len(json.dumps(request.args)) > LARGEST
        if key in self._refused or request.action in self._suspects or large:
            yield None
            return
        there = self._environments.setdefault(key, _Environment(request.reuse))
        try:
            replica = await self._find(there, request, start)
        except Lost as e:
            self._refused[key] = str(e)
            self.say(f"environment {request.environment}: its `reusable` has no effect here: {e}")
            yield None
            return
        replica.actions.add(request.action)
        try:
            yield replica
        finally:
            replica.actions.discard(request.action)
            gone = replica.ended or (replica.drained and not replica.actions)
            if gone:
                self._remove(there, replica)
            elif not replica.actions:
                self._rest(there, replica)
            await self._tell(there, there.policy.concurrency if gone else 1)

    async def outcome(
        self, replica: Replica, request: LaunchRequest, within: AbstractAsyncContextManager[None]
    ) -> Outcome:
        """Run the action in its place; ``within`` holds it to its timeout."""
        try:
            code = await replica.run(request, within)
        except TimeoutError:
            return Outcome(143, "timeout")
        if code is not None:
            return Outcome(code)
        others = replica.actions - {request.action}
        code = await replica.stop()
        if replica.group is not None and replica.group.oom_kills():
            size = request.resources.memory or 0
            return Outcome(code, "oom", f"its replica was killed at its memory limit of {size / 2**20:.0f} MiB")
        if others or request.action in self._suspects:
            # Whose doing it was cannot be told: each is tried again, in a process of its own.
            self._suspects.update(others, {request.action})
            return Outcome(code, "lost", f"its replica ended, with {len(others)} other actions in it")
        return Outcome(code)

    def waiting(self, scratch: Path) -> bool:
        """Whether all that runs in the replica there only waits for actions of its own."""
        found = [r for there in self._environments.values() for r in there.replicas if r.scratch == scratch]
        return any(r.actions and all(self.waits(name) for name in r.actions) for r in found)

    def relieve(self, holds: Callable[[Path], bool]) -> None:
        """End the idle ones that have what others wait for, as ``holds`` says by their folder."""
        for there in self._environments.values():
            for replica in [r for r in there.replicas if not r.actions and holds(r.scratch)]:
                self._remove(there, replica)

    async def close(self) -> None:
        """End every replica."""
        for there in self._environments.values():
            for replica in list(there.replicas):
                self._remove(there, replica)
            if there.timer is not None:
                there.timer.cancel()
        await asyncio.gather(*self._ending)

    # -- which, and how many ----------------------------------------------------------------------------------------

    async def _find(
        self, there: _Environment, request: LaunchRequest, start: Callable[[], Awaitable[Replica]]
    ) -> Replica:
        while True:
            if there.timer is not None:
                there.timer.cancel()
            free = [r for r in there.replicas if r.free]
            if free:
                found = min(free, key=lambda r: len(r.actions))
                if found.timer is not None:
                    found.timer.cancel()
                return found
            alive = [r for r in there.replicas if not r.ended]
            stuck = there.starting == 0 and all(self.waits(name) for r in alive for name in r.actions)
            # One that is being started has room for some of those who wait.
            room = there.starting * (there.policy.concurrency - 1) - there.waiting
            if (len(alive) + there.starting < there.policy.most and room <= 0) or stuck:
                if len(alive) >= there.policy.most:
                    self.say(
                        f"environment {request.environment}: all of its {there.policy.most} replicas wait for actions "
                        "of their own environment, so one more is started: give it more `replicas`, more "
                        '`concurrency`, or its parents `reusable="off"`'
                    )
                there.starting += 1
                try:
                    found = await start()
                finally:
                    there.starting -= 1
                there.replicas.append(found)
                self._soon(self._tell(there, found.policy.concurrency))
                return found
            there.waiting += 1
            try:
                async with there.changed:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(there.changed.wait(), _LOOK_SECONDS)
            finally:
                there.waiting -= 1

    def _rest(self, there: _Environment, replica: Replica) -> None:
        loop = asyncio.get_running_loop()
        replica.timer = loop.call_later(there.policy.scaledown, self._scale_down, there, replica)
        if not any(r.actions for r in there.replicas):
            there.timer = loop.call_later(there.policy.idle, self._end_all, there)

    def _scale_down(self, there: _Environment, replica: Replica) -> None:
        if not replica.actions and len(there.replicas) > there.policy.fewest:
            self._remove(there, replica)

    def _end_all(self, there: _Environment) -> None:
        if not any(r.actions for r in there.replicas):
            for replica in list(there.replicas):
                self._remove(there, replica)

    def _remove(self, there: _Environment, replica: Replica) -> None:
        if replica in there.replicas:
            there.replicas.remove(replica)
            self._soon(self._end(replica))

    def _soon(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _tell(self, there: _Environment, places: int) -> None:
        """Wake as many as find a place; whom this misses looks for itself."""
        if there.waiting:
            async with there.changed:
                there.changed.notify(places)

    async def _end(self, replica: Replica) -> None:
        await replica.stop()
        await self.clean(replica)


async def ready(running: process.Process, control: socket.socket) -> None:
    """Until the replica says so. Raises :class:`Lost` with its words, once it is ended."""
    try:
        async with asyncio.timeout(PATIENCE):
            await readable(control)
        said: Mapping[str, Any] = json.loads(control.recv(4096) or b"{}")
        if not isinstance(said, dict) or "ready" not in said:
            why = said.get("refused") if isinstance(said, dict) else None
            raise Lost(str(why)[:500] if why else "its replica ended at once")
    except BaseException as e:
        control.close()
        await asyncio.shield(running.stop(grace=0))
        if isinstance(e, OSError | ValueError):
            raise Lost(str(e) or "its replica was not ready in time") from e
        raise
