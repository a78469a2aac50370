"""The launcher of a cluster: every attempt as a Job, watched to its end, and given up where it cannot come to one.

A Job's name says whose attempt it is, so a launcher that begins anew adopts what an earlier one made: creating it again
answers that it is there. Nothing is believed but storage: how a pod ended is only why there may be no outputs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from asyncio import to_thread
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from flyteidl2.task import common_pb2

from ...kernel.values import dataclass, field, replace
from .. import door
from ..action import LaunchRequest, Left, Outcome
from ..latch import Latch
from ..specs import parsed
from ..storage import RunFolder
from ..template import loading_of
from .api import JITTER, ApiError, Cluster, used_up
from .called_apps import RunApps
from .calling import service_of
from .container_task import Carried, Carrier
from .errors import Unplaceable
from .gangs import Made, jobset, look_gang, made_for
from .gathering import gathered
from .kueue import why_waits
from .leaving import pods_log, take_over
from .mirror import Mirror
from .needs import NOTHING, Needs
from .pod import Place, job
from .replica_job import main_of
from .replica_pods import ReplicaPods
from .room import Room
from .sight import QUEUED, Sight, gave_up, look
from .straight import Straight
from .templates import named_template, template_name
from .tls import trusting
from .watching import Watcher

__all__ = ["REQUESTS", "KubernetesLauncher"]


# Looked at again after so long (seconds) though nothing was told: a watch may be silent. Thousands wait at once, so
# this is long; where a wait has its end, it is looked at then.
_LOOK = 15.0
# Seconds for which news are gathered, and after which Kueue is asked why it says nothing.
_MOMENT, _ASK = 0.02, 10.0
_FIRST_PAUSE, _MOST_PAUSE = 1.0, 15.0
# So many requests to the API are on their way at once, and of those so many that make a Job: what has ended shall not
# wait until thousands have begun.
REQUESTS, _BEGINNING = 16, 12
_FREE = contextlib.nullcontext()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KubernetesLauncher:
    """Launches one run's attempts in ``cluster``.

    ``images`` maps a manifest's digest to the reference that nodes pull, ``secret`` is the Secret with the run's
    endpoint, ``env`` holds for every pod (where its storage is). ``unscheduled`` seconds may pass without a node.
    ``needs`` is what images need of nodes, by digest; ``begun`` are the actions' attempts that an earlier driver of the
    run began, ``carrier`` is for container tasks; ``apps`` answer before an attempt begins, ``replicas`` are
    those of reusable environments, ``room`` knows what is free. ``tls``: the Secret has whom pods trust to be the
    service. ``said`` hears one line about an attempt whenever it is another.
    """

    folder: RunFolder
    cluster: Cluster
    straight: Straight
    place: Place
    mirror: Mirror
    watcher: Watcher
    images: Mapping[str, str]
    secret: str
    env: Mapping[str, str] = field(default_factory=dict)
    unscheduled: float = 1800.0
    needs: Mapping[str, Needs] = field(default_factory=dict)
    begun: frozenset[tuple[str, int]] = frozenset()
    carrier: Carrier | None = None
    tls: bool = False
    apps: RunApps | None = None
    replicas: ReplicaPods | None = None
    room: Room | None = None
    said: Callable[[str, int, str], None] = lambda action, attempt, line: None
    clock: Callable[[], float] = time.monotonic
    _news: dict[str, Latch] = field(default_factory=dict)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_BEGINNING))

    def changed(self, loop: asyncio.AbstractEventLoop) -> Callable[[str], None]:
        """What the watcher is to call, from any thread."""

        def tell(name: str) -> None:
            if (news := self._news.get(name)) is not None:
                news.set()

        # A Job, its pod and their events tell of one step, each by a watch of its own.
        return gathered(loop, _MOMENT, self._news, tell)

    async def launch(self, request: LaunchRequest) -> Outcome:
        """See :class:`~..action.Launcher`. What cannot be a pod, or what the cluster refuses, is an outcome."""
        made = made_for(request)
        name = made.watched
        self.watch(name)
        try:
            try:
                if (left := await self._ended_before(made, request)) is not None:
                    return Outcome(0, left=left)
                if self.apps is not None and (failed := await self.apps.ready(request)) is not None:
                    return failed
                if self.replicas is not None and (shared := await self.replicas.launch(self, request)) is not None:
                    return shared
                manifest = await self.prepared(request)
                await self.make(made, request, lambda: manifest()[0])
            except Unplaceable as e:
                hint = f"; {e.hint}" if e.hint else ""
                return Outcome(1, "error", f"{e}{hint}", "Unplaceable", "user")
            except ApiError as e:
                if quota := used_up(e):
                    return gave_up(f"the quota left no room: {quota}")
                return Outcome(1, "error", e.message, e.reason or "ClusterRefused")
            sight = await self.see(made, request, self.said)
            outcome = sight.outcome or Outcome(0)
            log = await pods_log(self.straight, self.watcher, name)
            left = await take_over(self.folder, self.mirror, request, outcome)
            if log:
                await self.mirror.put(self.mirror.key(request.log), log)
                if not left.outputs:  # its end is said with the error
                    request.log.parent.mkdir(parents=True, exist_ok=True)
                    request.log.write_bytes(log)
            return replace(outcome, left=left)
        except asyncio.CancelledError:
            # Shielded: also a cancelled attempt leaves no pod that holds a GPU.
            await asyncio.shield(to_thread(self.cluster.delete, made.kind, made.name))
            raise
        finally:
            self.unwatch(name)

    def watch(self, name: str) -> None:
        """Hear of the Job ``name`` from now on."""
        self._news[name] = Latch()
        self.watcher.ask(name)

    def unwatch(self, name: str) -> None:
        self.watcher.forget(name)
        self._news.pop(name, None)
        if self.room is not None:
            self.room.forget(name)

    async def settle(
        self, action: str, document: str, target: Path, kind: Literal["inputs", "outputs"], limit: int = door.INLINE
    ) -> None:
        """See :class:`~..action.Launcher`. Copied within the storage: what it refers to lies there already."""
        below = self.folder.storage.below(document, self.folder.name)
        await self.mirror.copy(f"{self.folder.name}/{below}", target)
        await self.mirror.within(target, limit)

    async def fetch(self, document: Path) -> None:
        """See :class:`~..action.Launcher`. What is larger than any message may be is to the engine not there."""
        try:
            await self.mirror.down(document)
        except door.Refused:
            document.unlink(missing_ok=True)

    async def _ended_before(self, made: Made, request: LaunchRequest) -> Left | None:
        """What an attempt of an earlier driver has left, where its Job is gone: it shall not run again."""
        if (request.action, request.attempt) not in self.begun:
            return None
        if await self._patiently(request, partial(to_thread, self.cluster.get, made.kind, made.name)) is not None:
            return None
        left = await take_over(self.folder, self.mirror, request, Outcome(0))
        return left if left.outputs or left.error is not None else None

    # -- one attempt -------------------------------------------------------------------------------------

    async def prepared(self, request: LaunchRequest) -> Callable[[], tuple[dict[str, Any], str]]:
        """What makes the attempt's Job, and says what its own container is called: thousands wait for their turn, and
        nobody holds their manifests. Raises :class:`Unplaceable`, and :class:`ApiError`."""
        template = None
        if template_name(request.task_spec):
            template = await to_thread(named_template, self.cluster, request.task, request.task_spec)
        reference, carried = self._reference(request), await self._carried(request)

        def manifest() -> tuple[dict[str, Any], str]:
            served = self.apps.variables(request) if self.apps is not None else {}
            told = replace(request, env={**self.env, **served, **request.env})
            needs = self.needs.get(request.image, NOTHING)
            made = job(
                told, reference, self.place, template=template, needs=needs, carrier=self.carrier, carried=carried
            )
            if carried is not None:
                return made, ""
            main = main_of(made, reference)
            main["env"] += service_of(self.secret, request.action)
            if self.tls:
                trusting(main, made["spec"]["template"]["spec"], self.secret)
            return made, str(main["name"])

        return manifest

    async def make(self, made: Made, request: LaunchRequest, manifest: Callable[[], dict[str, Any]]) -> None:
        """Make what is ``made`` of a Job; that it is there already is as well. Raises :class:`ApiError`."""

        async def create() -> dict[str, Any]:
            found = manifest()
            return await self.straight.create(made.kind, found if made.gang is None else jobset(found, made))

        try:
            there = await self._patiently(request, create, self._room)
        except ApiError as e:
            if e.status != 409:
                raise
            # Made by this run before: its name says for which attempt. What was then begun goes on.
            await self._patiently(request, partial(to_thread, self.watcher.fetch, made.watched))
            return
        if made.gang is None:
            self.watcher.note(there)

    async def _carried(self, request: LaunchRequest) -> Carried | None:
        """What an attempt of a container task is given and gives; ``None`` for any other task's."""
        if loading_of(parsed(request.task_spec).task_template) is None:
            return None
        document = self.folder.inputs(request.action)
        if not document.is_file():
            await self.mirror.down(document, request.inline)
        given = common_pb2.Inputs.FromString(document.read_bytes())
        attempt, data = (f(request.action, request.attempt) for f in (self.folder.attempt, self.folder.data))
        return Carried(given, self.mirror.key(document), self.mirror.key(attempt), self.mirror.key(data))

    async def _patiently(
        self, request: LaunchRequest, ask: Callable[[], Awaitable[T]], room: AbstractAsyncContextManager[Any] = _FREE
    ) -> T:
        """What ``ask`` gives, asked again for as long as the cluster does not answer: it is not the attempt's fault.
        It is asked within ``room``, and waited for without.

        A namespace that may hold no more Jobs now (a quota of ``count/jobs.batch``) is waited for as a node is.
        """
        pause, begun = _FIRST_PAUSE, self.clock()
        while True:
            try:
                async with room:
                    return await ask()
            except ApiError as e:
                quota = used_up(e)
                if quota and self.clock() - begun < self.unscheduled:
                    self.said(request.action, request.attempt, f"quota: {quota}")
                elif e.status != 0 and e.status != 429 and e.status < 500:
                    raise
                else:
                    self.said(request.action, request.attempt, f"the cluster's API does not answer: {e.message}")
            await asyncio.sleep(pause * (0.5 + JITTER.random()))
            pause = min(pause * 2, _MOST_PAUSE)

    def _reference(self, request: LaunchRequest) -> str:
        reference = self.images.get(request.image)
        if reference is None:
            raise Unplaceable(f"image {request.image} of {request.task} is in no registry that the cluster pulls from")
        return reference

    async def see(self, made: Made, request: LaunchRequest, said: Callable[[str, int, str], None]) -> Sight:
        """Wait until the attempt ended, or has to be given up; then nothing of it runs."""
        name = made.watched
        key, since, line = "", self.clock(), ""
        why, asked = "", self.clock()
        news = self._news[name]
        while True:
            news.clear()
            sight = await self._look(made, request)
            silent = sight.line == QUEUED
            if silent and self.clock() - asked >= _ASK:
                why, asked = await to_thread(self._why_waits, made), self.clock()
            if silent and why:
                sight = replace(sight, line=f"{QUEUED}: {why}")
            if self.room is not None:
                sight = await self.room.told(name, sight)
            if sight.line != line:
                line = sight.line
                said(request.action, request.attempt, line)
            if sight.stage == "ended":
                if sight.outcome is not None and sight.outcome.reason == "lost":
                    # It may still run where nobody sees it, and another is to run in its place.
                    await self._patiently(request, partial(to_thread, self.cluster.delete, made.kind, made.name))
                return sight
            if sight.key != key:
                key, since = sight.key, self.clock()
            if sight.patience is not None and self.clock() - since >= sight.patience:
                await self._patiently(request, partial(to_thread, self.cluster.delete, made.kind, made.name))
                return replace(sight, stage="ended")
            ends = [since + sight.patience] if sight.patience is not None else []
            ends += [asked + _ASK] if silent else []
            left = min((end - self.clock() for end in ends), default=_LOOK)
            try:
                async with asyncio.timeout(min(max(left, 0.01), _LOOK)):
                    await news.wait()
            except TimeoutError:
                pass

    def _why_waits(self, made: Made) -> str:
        of = self.watcher.known(made.watched).job if made.gang is None else None
        return why_waits(self.cluster, of, lambda: self.cluster.get(made.kind, made.name))

    async def _look(self, made: Made, request: LaunchRequest) -> Sight:
        gang, known = made.gang, self.watcher.known(made.watched)
        if gang is not None:
            found = await self._patiently(request, partial(to_thread, self.cluster.get, made.kind, made.name))
            known = self.watcher.known(made.watched)
            return look_gang(gang, found, known.job, known.pods.values(), known.events, unscheduled=self.unscheduled)
        if not known.seen and not known.pods:
            return Sight("waiting", "is asked for", "asked", self.unscheduled, Outcome(1, "error", "was never seen"))
        return look(known.job, known.pods.values(), known.events, unscheduled=self.unscheduled)
