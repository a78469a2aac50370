"""Replicas of reusable environments as pods: each is a Job whose process calls the driver for actions.

How many there are and which action is in which is decided as on one machine (``warm/replicas``), what becomes of a pod
is seen as an attempt's is. Its process is the one that runs in sandboxes (``warm/replica``), which comes in a Secret of
the run's; what it is told and tells is believed as little: the verdict on an action is what it left in the storage.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ..action import LaunchRequest, Outcome
from ..beginning import Beginning
from ..storage import RunFolder
from ..warm.forked import Lost
from ..warm.replicas import Replicas
from ..warm.told import texts, whole
from .api import ApiError, Cluster
from .gangs import Made, made_for
from .growing import Growing
from .leaving import pods_log, take_over
from .mirror import Mirror
from .names import job_name, label_value, run_object
from .pod_replica import PodReplica, Said
from .replica_job import REPLICA, named, replica_job
from .sight import Sight
from .straight import Straight
from .watching import JOBS, PODS, Watcher

__all__ = ["REPLICAS", "ReplicaPods"]

REPLICAS = "/replicas"
"""The path of what replicas ask and say."""

_REQUEST_BYTES = 1 << 20
_GOING_SECONDS = 60.0
_SECRETS = "v1/secrets"
_MOST_KINDS = 64
# So many bytes of a log say where in another it ends.
_KNOWN = 4096
_Kind = tuple[str, dict[str, Any] | None, str]
Answer = tuple[int, Mapping[str, Any]]


class Jobs(Protocol):
    """What is asked of the launcher: see there."""

    @property
    def said(self) -> Said: ...
    @property
    def straight(self) -> Straight: ...
    def watch(self, name: str) -> None: ...
    def unwatch(self, name: str) -> None: ...
    async def prepared(self, request: LaunchRequest) -> Callable[[], tuple[dict[str, Any], str]]: ...
    async def make(self, made: Made, request: LaunchRequest, manifest: Callable[[], dict[str, Any]]) -> None: ...
    async def see(self, made: Made, request: LaunchRequest, said: Said) -> Sight: ...


class _Unready(Exception):
    """The pod did not come to be: how the attempt that it was for ended by that."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class ReplicaPods:
    """Those of the run with the ``folder``. ``waits`` says whether an action only waits for its children, ``say`` is
    told what its user should know; ``driver`` is the number of this driver among the run's. For one event loop."""

    def __init__(
        self,
        folder: RunFolder,
        driver: int,
        cluster: Cluster,
        mirror: Mirror,
        watcher: Watcher,
        waits: Callable[[str], bool],
        say: Callable[[str], object],
    ) -> None:
        self._run, self._driver, self._cluster = folder.name, driver, cluster
        self._folder, self._mirror, self._watcher = folder, mirror, watcher
        self._growing = Growing(mirror)
        self._said: set[str] = set()
        self._say = say
        self._replicas: Replicas[PodReplica] = Replicas(waits, self._once, self._nothing)
        self._known: dict[str, PodReplica] = {}
        self._kinds: dict[tuple[Any, ...], _Kind] = {}
        self._numbers = itertools.count(1)
        self._program: asyncio.Task[str] | None = None

    async def launch(self, launcher: Jobs, request: LaunchRequest) -> Outcome | None:
        """Run the attempt in a replica; ``None``: it is to have a pod of its own.

        Raises :class:`Unplaceable` and :class:`ApiError` where there can be no pod of its kind.
        """
        if request.reuse is None or made_for(request).gang is not None:
            return None
        key, job, container = await self._kind(launcher, request)
        if job is None:
            self._once(f"environment {request.environment}: its `reusable` has no effect: its container has a command")
            return None
        request.log.parent.mkdir(parents=True, exist_ok=True)
        start = partial(self._start, launcher, request, partial(named, job, container))
        try:
            async with self._replicas.place(key, request, start) as replica:
                if replica is None:
                    return None
                within = Beginning(0.0).within(request.timeout)
                outcome = await self._replicas.outcome(replica, request, within)
        except _Unready as e:
            outcome = e.outcome
        left = await take_over(self._folder, self._mirror, request, outcome)
        await self._growing.ended(request.log)
        if request.log.is_file():
            await self._mirror.up(request.log)
            if left.outputs:  # only an error is said with the end of it
                request.log.unlink()
        return replace(outcome, left=left)

    async def _kind(self, launcher: Jobs, request: LaunchRequest) -> _Kind:
        """Of which kind the replicas for the attempt are: a name for it, their Job, and the container's name."""
        asked = (request.task_spec, request.image, request.queue, tuple(sorted(whole(request.env).items())))
        if asked not in self._kinds:
            manifest, container = (await launcher.prepared(request))()
            job = replica_job(manifest, container, self.program)
            text = json.dumps([job, request.environment], sort_keys=True)
            self._kinds[asked] = hashlib.sha256(text.encode()).hexdigest(), job, container
            for old in list(self._kinds)[:-_MOST_KINDS]:
                del self._kinds[old]
        return self._kinds[asked]

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
        job, made = job_of(name), Made(JOBS, name, name)
        if self._program is None or (self._program.done() and self._program.exception() is not None):
            self._program = asyncio.create_task(asyncio.to_thread(self._store, job["metadata"].get("ownerReferences")))
        await asyncio.shield(self._program)
        end = partial(self._end, launcher, name)
        replica = PodReplica(
            policy=request.reuse, name=name, end=end, said=launcher.said, grew=self._growing.grew, first=request
        )
        self._known[name] = replica
        try:
            launcher.watch(name)
            await launcher.make(made, request, lambda: job)
            replica.watching = asyncio.create_task(launcher.see(made, request, replica.looks))
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
        if len(replica.requests) == 1 and (log := await pods_log(launcher.straight, self._watcher, name)):
            _complete(next(iter(replica.requests.values())).log, log)
        if replica.watching is not None:
            replica.watching.cancel()
        try:
            await asyncio.to_thread(self._cluster.delete, JOBS, name)
        finally:
            launcher.unwatch(name)

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


def _complete(log: Path, printed: bytes) -> None:
    """Add to an action's ``log`` what its pod has ``printed`` since the replica said something of it last."""
    with open(log, "a+b") as f:
        f.seek(max(f.tell() - _KNOWN, 0))
        known = f.read()
        f.write(printed.partition(known)[2] if known and known in printed else printed)
