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
from dataclasses import dataclass, field, replace  # as a member is: `kernel.values` knows no fields of such a base
from pathlib import Path
from typing import Any, Generic, TypeVar

from ...kernel.cgroups import Group
from ..action import LaunchRequest, Outcome, ReusePolicy
from ..sandbox import process
from ..sandbox.spec import Mount
from .forked import PATIENCE, Lost, readable
from .member import Member

__all__ = ["Replica", "Replicas"]

LARGEST = 1 << 17
_LOOK_SECONDS = 0.2
_GOODBYE = 0.5
M = TypeVar("M", bound=Member)


@dataclass(slots=True, eq=False)
class Replica(Member):
    """One process of this machine, whose files are in ``scratch``."""

    running: process.Process
    control: socket.socket
    mounts: tuple[Mount, ...]
    scratch: Path
    group: Group | None

    def listen(self) -> None:
        asyncio.get_running_loop().add_reader(self.control, self._hear)

    def _hear(self) -> None:
        """Its words are a hostile process's: what is none of ours ends it."""
        try:
            self.hear(json.loads(self.control.recv(4096)))
        except BlockingIOError:
            return
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            self.over()  # nothing at all is said at its end

    def over(self) -> None:
        if not self.ended:
            asyncio.get_running_loop().remove_reader(self.control)
            self.control.close()
            Member.over(self)

    def begin(self, number: int, request: LaunchRequest) -> None:
        log = os.open(request.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            socket.send_fds(self.control, [json.dumps({"id": number, "argv": request.args}).encode()], [log])
        finally:
            os.close(log)

    def cancel(self, number: int) -> None:
        self.control.send(json.dumps({"cancel": number}).encode())

    async def stop(self) -> Outcome:
        self.over()
        # It ends when nobody asks any more; then its processor time is its parents', which that of what is killed
        # with its namespace is not.
        await asyncio.wait([asyncio.ensure_future(self.running.wait())], timeout=_GOODBYE)
        code = await self.running.stop(grace=0)
        if self.group is not None and self.group.oom_kills():
            return Outcome(code, "oom")
        return Outcome(code)


@dataclass(slots=True, eq=False)
class _Environment(Generic[M]):
    policy: ReusePolicy
    replicas: list[M] = field(default_factory=list)
    starting: int = 0
    waiting: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class Replicas(Generic[M]):
    """``waits`` says whether an action only waits for its children; ``say`` is told what its user should know.

    ``clean`` removes what a replica that ended leaves. For one event loop.
    """

    waits: Callable[[str], bool]
    say: Callable[[str], object]
    clean: Callable[[M], Awaitable[object]]
    _environments: dict[str, _Environment[M]] = field(default_factory=dict)
    _refused: dict[str, str] = field(default_factory=dict)
    _suspects: set[str] = field(default_factory=set)
    _ending: set[asyncio.Task[None]] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def place(
        self, key: str, request: LaunchRequest, start: Callable[[], Awaitable[M]]
    ) -> AsyncIterator[M | None]:
        """A place for the action in a replica, ``start`` making a new one; ``None``: it is to have its own process."""
        assert request.reuse is not None
        # A character takes at most twelve.
        large = sum(map(len, request.args)) > LARGEST // 12 and len(json.dumps(request.args)) > LARGEST
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

    async def outcome(self, replica: M, request: LaunchRequest, within: AbstractAsyncContextManager[None]) -> Outcome:
        """Run the action in its place; ``within`` holds it to its timeout."""
        try:
            code = await replica.run(request, within)
        except TimeoutError:
            return Outcome(143, "timeout")
        if code is not None:
            return Outcome(code)
        others = replica.actions - {request.action}
        ended = await replica.stop()
        if ended.reason == "oom":
            size = request.resources.memory or 0
            return replace(ended, message=f"its replica was killed at its memory limit of {size / 2**20:.0f} MiB")
        if ended.reason == "lost":
            return ended
        if others or request.action in self._suspects:
            # Whose doing it was cannot be told: each is tried again, in a process of its own.
            self._suspects.update(others, {request.action})
            return replace(ended, reason="lost", message=f"its replica ended, with {len(others)} other actions in it")
        return ended

    def waiting(self, which: Callable[[M], bool]) -> bool:
        """Whether all that runs in the replica that ``which`` finds only waits for actions of its own."""
        found = [r for there in self._environments.values() for r in there.replicas if which(r)]
        return any(r.actions and all(self.waits(name) for name in r.actions) for r in found)

    def relieve(self, holds: Callable[[M], bool]) -> None:
        """End the idle ones that have what others wait for, as ``holds`` says."""
        for there in self._environments.values():
            for replica in [r for r in there.replicas if not r.actions and holds(r)]:
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

    async def _find(self, there: _Environment[M], request: LaunchRequest, start: Callable[[], Awaitable[M]]) -> M:
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
                    many = there.policy.most
                    waiting = f"all of its {many} replicas wait" if many > 1 else "its replica waits"
                    self.say(
                        f"environment {request.environment}: {waiting} "
                        "for actions of this environment, so one more is started: give it more `replicas`, more "
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
                        # So often one of them looks, however many there are.
                        await asyncio.wait_for(there.changed.wait(), _LOOK_SECONDS * there.waiting)
            finally:
                there.waiting -= 1

    def _rest(self, there: _Environment[M], replica: M) -> None:
        loop = asyncio.get_running_loop()
        replica.timer = loop.call_later(there.policy.scaledown, self._scale_down, there, replica)
        if not any(r.actions for r in there.replicas):
            there.timer = loop.call_later(there.policy.idle, self._end_all, there)

    def _scale_down(self, there: _Environment[M], replica: M) -> None:
        if not replica.actions and len(there.replicas) > there.policy.fewest:
            self._remove(there, replica)

    def _end_all(self, there: _Environment[M]) -> None:
        if not any(r.actions for r in there.replicas):
            for replica in list(there.replicas):
                self._remove(there, replica)

    def _remove(self, there: _Environment[M], replica: M) -> None:
        if replica in there.replicas:
            there.replicas.remove(replica)
            self._soon(self._end(replica))

    def _soon(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _tell(self, there: _Environment[M], places: int) -> None:
        """Wake as many as find a place; whom this misses looks for itself."""
        if there.waiting:
            async with there.changed:
                there.changed.notify(places)

    async def _end(self, replica: M) -> None:
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
