"""Replicas of reusable environments as pods: each is a Job whose process calls the driver for actions.

How many there are and which action is in which is decided as on one machine (``warm/replicas``), what becomes of a pod
is seen as an attempt's is. Its process is the one that runs in sandboxes (``warm/replica``), which comes in a Secret of
the run's; what it is told and tells is believed as little: the verdict on an action is what it left in the storage.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ..action import LaunchRequest, Outcome
from ..beginning import Beginning
from ..warm.forked import Lost
from ..warm.member import Member
from ..warm.replicas import Replicas
from ..warm.told import texts
from .api import ApiError, Cluster
from .names import job_name, label_value, run_object
from .replica_job import REPLICA, named, replica_job
from .sight import QUEUED, Sight
from .watching import JOBS, PODS

__all__ = ["REPLICAS", "PodReplica", "ReplicaPods"]

REPLICAS = "/replicas"
"""The path of what replicas ask and say."""

# Seconds that a question waits for its answer; whoever asks waits longer (see ``warm/calling``).
_HOLD = 20.0
_LOG_BYTES, _REQUEST_BYTES = 64 << 20, 1 << 20
# What a process ends with that its driver left (see ``warm/calling``).
_LEFT = 75
_GOING_SECONDS = 60.0
_SECRETS = "v1/secrets"
Answer = tuple[int, Mapping[str, Any]]
Said = Callable[[str, int, str], None]


class Jobs(Protocol):
    """What is asked of the launcher: see there."""

    @property
    def said(self) -> Said: ...
    async def manifest(self, request: LaunchRequest) -> tuple[dict[str, Any], str]: ...
    async def make(self, name: str, request: LaunchRequest, manifest: Mapping[str, Any]) -> None: ...
    async def see(self, name: str, request: LaunchRequest, said: Said) -> Sight: ...
    async def unmake(self, name: str) -> None: ...
    async def fetch_log(self, name: str, target: Path) -> None: ...
    async def take_over(self, request: LaunchRequest) -> None: ...


class _Unready(Exception):
    """The pod did not come to be: how the attempt that it was for ended by that."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


@dataclass(slots=True, eq=False, kw_only=True)
class PodReplica(Member):
    """One pod, whose Job is ``name``. ``end`` deletes it; ``said`` hears lines about an attempt. ``seen``: it ran."""

    name: str
    end: Callable[[], Awaitable[object]]
    said: Said
    first: LaunchRequest
    ready: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    watching: asyncio.Task[Sight] | None = None
    seen: bool = False
    logs: dict[int, Path] = field(default_factory=dict)
    _process: str = ""
    _heard: int = 0
    _orders: list[Mapping[str, Any]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, number: int, request: LaunchRequest) -> None:
        self.logs[number] = request.log
        self._order({"id": number, "argv": list(request.args)})
        self.said(request.action, request.attempt, f"runs in replica {self.name}")

    def cancel(self, number: int) -> None:
        self._order({"cancel": number})

    def _order(self, order: Mapping[str, Any]) -> None:
        self._orders.append({**order, "number": next(self._numbers)})
        self._news.set()

    def over(self) -> None:
        Member.over(self)
        self._news.set()

    async def stop(self) -> Outcome:
        self.over()
        seen = self.watching.result() if self.watching is not None and self.watching.done() else None
        await self.end()
        outcome = seen.outcome if seen is not None else None
        if outcome is None or outcome.exit_code == _LEFT:
            return Outcome(137, "lost", "its replica is gone", "Interrupted")
        return outcome

    def looks(self, action: str, attempt: int, line: str) -> None:
        """What is seen of its pod, as a line for people."""
        if not self.ready.done():
            self.said(action, attempt, line)
        if line.startswith("running"):
            self.seen = True
        elif self.seen and line.startswith(QUEUED):
            self.over()  # Kueue took its place: another pod of the same Job would know nothing of its actions

    def knows(self, process: str) -> bool:
        """Whether ``process`` is this replica: its first caller. Another one says that the first is gone."""
        self._process = self._process or process
        if self._process != process:
            self.over()
        return not self.ended

    async def orders(self, after: int) -> list[Mapping[str, Any]]:
        """Those that came after the order ``after``, as soon as there is one."""
        self._orders = [order for order in self._orders if order["number"] > after]
        if not self._orders:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _HOLD)
        return list(self._orders)

    def take(self, number: int, message: Mapping[str, Any]) -> None:
        """Its word ``number``; raises LookupError, TypeError, ValueError for what is none."""
        if number <= self._heard:
            return  # it had no answer to it
        self._heard = number
        if "ready" in message or "refused" in message:
            if not self.ready.done():
                self.ready.set_result(str(message.get("refused") or "")[:500])
        elif "log" in message:
            with open(self.logs[message["id"]], "ab") as f:
                f.write(base64.b64decode(message["log"])[: max(_LOG_BYTES - f.tell(), 0)])
        else:
            self.hear(message)
            self.logs.pop(message["id"], None)


class ReplicaPods:
    """Those of one run. ``waits`` says whether an action only waits for its children, ``say`` is told what its user
    should know; ``driver`` is the number of this driver among those of the run. For one event loop."""

    def __init__(
        self, run: str, driver: int, cluster: Cluster, waits: Callable[[str], bool], say: Callable[[str], object]
    ) -> None:
        self._run, self._driver, self._cluster = run, driver, cluster
        self._said: set[str] = set()
        self._say = say
        self._replicas: Replicas[PodReplica] = Replicas(waits, self._once, self._nothing)
        self._known: dict[str, PodReplica] = {}
        self._numbers = itertools.count(1)
        self._program: asyncio.Task[str] | None = None

    async def launch(self, launcher: Jobs, request: LaunchRequest) -> Outcome | None:
        """Run the attempt in a replica; ``None``: it is to have a pod of its own.

        Raises :class:`Unplaceable` and :class:`ApiError` where there can be no pod of its kind.
        """
        if request.reuse is None:
            return None
        manifest, container = await launcher.manifest(request)
        job = replica_job(manifest, container, self.program)
        if job is None:
            self._once(f"environment {request.environment}: its `reusable` has no effect: its container has a command")
            return None
        key = hashlib.sha256(json.dumps([job, request.environment], sort_keys=True).encode()).hexdigest()
        start = partial(self._start, launcher, request, partial(named, job, container))
        try:
            async with self._replicas.place(key, request, start) as replica:
                if replica is None:
                    return None
                within = Beginning(0.0).within(request.timeout)
                outcome = await self._replicas.outcome(replica, request, within)
        except _Unready as e:
            outcome = e.outcome
        await launcher.take_over(request)
        return outcome

    @property
    def program(self) -> str:
        """The Secret that has what runs in them."""
        return f"{run_object(self._run)}-replica"

    def replica(self, name: str) -> PodReplica:
        """Raises LookupError."""
        return self._known[name]

    async def sweep(self) -> None:
        """End what an earlier driver left: what ran in there is begun anew, and by nobody else. Raises ApiError."""
        query = {"labelSelector": f"run={label_value(self._run)},{REPLICA}"}

        def names(kind: str) -> list[str]:
            pages = self._cluster.pages(kind, query)
            return [str(item["metadata"]["name"]) for page in pages for item in page.get("items") or ()]

        for name in await asyncio.to_thread(names, JOBS):
            await asyncio.to_thread(self._cluster.delete, JOBS, name)
        async with asyncio.timeout(_GOING_SECONDS):
            while await asyncio.to_thread(names, PODS):
                await asyncio.sleep(0.5)

    async def close(self) -> None:
        """End every replica."""
        await self._replicas.close()
        if self._program is not None:
            with contextlib.suppress(ApiError):
                await asyncio.to_thread(self._cluster.delete, _SECRETS, self.program)

    # -- one replica ------------------------------------------------------------------------------------------------

    async def _start(
        self, launcher: Jobs, request: LaunchRequest, job_of: Callable[[str], dict[str, Any]]
    ) -> PodReplica:
        """A replica that is ready. Raises :class:`Lost` where its process cannot be one, and as ``launch``."""
        assert request.reuse is not None
        name = job_name(self._run, f"replica{next(self._numbers)}", self._driver)
        job = job_of(name)
        if self._program is None or (self._program.done() and self._program.exception() is not None):
            self._program = asyncio.create_task(asyncio.to_thread(self._store, job["metadata"].get("ownerReferences")))
        await asyncio.shield(self._program)
        end = partial(self._end, launcher, name)
        replica = PodReplica(policy=request.reuse, name=name, end=end, said=launcher.said, first=request)
        self._known[name] = replica
        try:
            await launcher.make(name, request, job)
            replica.watching = asyncio.create_task(launcher.see(name, request, replica.looks))
            replica.watching.add_done_callback(lambda _: replica.over())
            either: list[asyncio.Future[Any]] = [replica.watching, replica.ready]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not replica.ready.done():
                outcome = replica.watching.result().outcome or Outcome(0)
                if outcome.reason:
                    raise _Unready(outcome)
                raise Lost(f"its pod ended with exit code {outcome.exit_code} before it was ready")
            if why := replica.ready.result():
                raise Lost(why)
        except BaseException:
            await asyncio.shield(replica.stop())
            raise
        return replica

    def _store(self, owners: list[Mapping[str, Any]] | None) -> str:
        metadata: dict[str, Any] = {"name": self.program, "labels": {"run": label_value(self._run)}}
        if owners:
            metadata["ownerReferences"] = owners
        value = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": texts()}
        try:
            self._cluster.create(_SECRETS, value)
        except ApiError as e:
            if e.status != 409:  # an earlier driver's
                raise
        return self.program

    async def _end(self, launcher: Jobs, name: str) -> None:
        """Delete the Job; where an action goes with it, its log is its pod's."""
        replica = self._known.pop(name, None)
        if replica is None:
            return
        if len(replica.logs) == 1:
            await launcher.fetch_log(name, next(iter(replica.logs.values())))
        if replica.watching is not None:
            replica.watching.cancel()
        await launcher.unmake(name)

    async def _nothing(self, _: PodReplica) -> None:
        """All of it ended with its Job."""

    def _once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self._say(message)

    # -- what they ask ----------------------------------------------------------------------------------------------

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
        data, more = b"", True
        while more and len(data) <= _REQUEST_BYTES:
            message = await receive()
            data += message.get("body") or b""
            more = bool(message.get("more_body"))
        try:
            status, answer = await self._answered(str(scope["path"]), json.loads(data))
        except (LookupError, TypeError, ValueError, AttributeError, OSError):
            status, answer = 400, {}
        body = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answered(self, path: str, told: Any) -> Answer:
        replica = self._known.get(told["replica"])
        if replica is None or not replica.knows(str(told["process"])):
            return 410, {}
        if path == f"{REPLICAS}/said":
            replica.take(int(told["number"]), told["message"])
            return 200, {}
        if path != f"{REPLICAS}/orders":
            return 404, {}
        return 200, {"orders": await replica.orders(int(told["after"]))}
