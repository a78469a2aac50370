"""The launcher of a cluster: every attempt as a Job, watched to its end, and given up where it cannot come to one.

A Job's name says whose attempt it is, so a launcher that begins anew adopts what an earlier one made: creating it again
answers that it is there. Nothing is believed but storage: how a pod ended is only why there may be no outputs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from flyteidl2.task import common_pb2, task_definition_pb2

from .. import door
from ..action import ERROR, OUTPUTS, REPORT, LaunchRequest, Outcome
from ..control.addressing import AS
from ..storage import RunFolder
from ..template import loading_of
from .api import JITTER, ApiError, Cluster, used_up
from .cluster_apps import ClusterApps
from .container_task import Carried, Carrier
from .errors import Unplaceable
from .kueue import why_queued
from .mirror import Mirror
from .names import job_name
from .needs import NOTHING, Needs
from .pod import Place, job
from .replica_job import main_of
from .replica_pods import ReplicaPods
from .sight import QUEUED, Sight, gave_up, look
from .templates import named_template
from .watching import JOBS, Watcher, log_of

__all__ = ["ENDPOINT", "KubernetesLauncher"]

ENDPOINT = "endpoint"
"""The key of the run's Secret that holds the actions service's address, with its token."""
_ADDRESS = "_FLYTE_BUILD_SERVICE"

# Looked at again after so long (seconds) though nothing was told: a watch may be silent. Thousands wait at once, so
# this is long; where a wait has its end, it is looked at then.
_LOOK = 15.0
# Seconds after which Kueue is asked why it says nothing.
_ASK = 10.0
_FIRST_PAUSE, _MOST_PAUSE = 1.0, 15.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KubernetesLauncher:
    """Launches one run's attempts in ``cluster``.

    ``images`` maps a manifest's digest to the reference that nodes pull, ``secret`` is the Secret with the run's
    endpoint, ``env`` holds for every pod (where its storage is). ``unscheduled`` seconds may pass without a node.
    ``needs`` is what images need of nodes, by digest; ``begun`` are the actions' attempts that an earlier driver of the
    run began, ``carrier`` is for container tasks; ``apps`` answer before the first attempt begins;
    ``replicas`` are those of reusable environments. ``said`` hears one line about an attempt whenever it is another.
    """

    folder: RunFolder
    cluster: Cluster
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
    apps: ClusterApps | None = None
    replicas: ReplicaPods | None = None
    said: Callable[[str, int, str], None] = lambda action, attempt, line: None
    clock: Callable[[], float] = time.monotonic
    _news: dict[str, asyncio.Event] = field(default_factory=dict)

    def changed(self, loop: asyncio.AbstractEventLoop) -> Callable[[str], None]:
        """What the watcher is to call, from any thread."""

        def wake(name: str) -> None:
            news = self._news.get(name)
            if news is not None and not loop.is_closed():
                loop.call_soon_threadsafe(news.set)

        return wake

    async def launch(self, request: LaunchRequest) -> Outcome:
        """See :class:`~..action.Launcher`. What cannot be a pod, or what the cluster refuses, is an outcome."""
        name = name_of(request)
        self._news[name] = asyncio.Event()
        self.watcher.ask(name)
        try:
            try:
                if (request.action, request.attempt) in self.begun and await self._ended_before(name, request):
                    return Outcome(0)
                if self.apps is not None and (failed := await self.apps.ready()) is not None:
                    return failed
                if self.replicas is not None and (shared := await self.replicas.launch(self, request)) is not None:
                    return shared
                await self.make(name, request, (await self.manifest(request))[0])
            except Unplaceable as e:
                hint = f"; {e.hint}" if e.hint else ""
                return Outcome(1, "error", f"{e}{hint}", "Unplaceable", "user")
            except ApiError as e:
                if quota := used_up(e):
                    return gave_up(f"the quota left no room: {quota}")
                return Outcome(1, "error", e.message, e.reason or "ClusterRefused")
            sight = await self.see(name, request, self.said)
            await self.fetch_log(name, request.log)
            await self.take_over(request)
            return sight.outcome or Outcome(0)
        except asyncio.CancelledError:
            # Shielded: also a cancelled attempt leaves no pod that holds a GPU.
            await asyncio.shield(asyncio.to_thread(self.cluster.delete, JOBS, name))
            raise
        finally:
            self.watcher.forget(name)
            del self._news[name]

    async def settle(
        self, action: str, document: str, target: Path, kind: Literal["inputs", "outputs"], limit: int = door.INLINE
    ) -> None:
        """See :class:`~..action.Launcher`. Copied within the storage: what it refers to lies there already."""
        below = self.folder.storage.below(document, self.folder.name)
        await self.mirror.copy(f"{self.folder.name}/{below}", target)
        if not await self.mirror.down(target, limit):
            raise FileNotFoundError(document)

    async def fetch(self, document: Path) -> None:
        """See :class:`~..action.Launcher`."""
        await self._down(document, door.INLINE)

    async def _ended_before(self, name: str, request: LaunchRequest) -> bool:
        """Whether an attempt of an earlier driver has left its word, and its Job is gone: it shall not run again."""
        if await self._patiently(request, lambda: self.cluster.get(JOBS, name)) is not None:
            return False
        await self.take_over(request)
        attempt = self.folder.attempt(request.action, request.attempt)
        return (attempt / OUTPUTS).is_file() or (attempt / ERROR).is_file()

    # -- one attempt -------------------------------------------------------------------------------------

    async def manifest(self, request: LaunchRequest) -> tuple[dict[str, Any], str]:
        """The attempt's Job, and what its own container is called. Raises :class:`Unplaceable`."""
        template = await asyncio.to_thread(named_template, self.cluster, request.task, request.task_spec)
        needs = self.needs.get(request.image, NOTHING)
        reference, carried = self._reference(request), await self._carried(request)
        manifest = job(
            self._with_env(request), reference, self.place, template=template, needs=needs, carrier=self.carrier,
            carried=carried,
        )  # fmt: skip
        if carried is not None:
            return manifest, ""
        main = main_of(manifest, reference)
        main["env"] += self._endpoint(request)
        return manifest, str(main["name"])

    async def make(self, name: str, request: LaunchRequest, manifest: Mapping[str, Any]) -> None:
        """Make the Job ``name``, and watch it from now on. Raises :class:`ApiError`."""
        self._news.setdefault(name, asyncio.Event())
        self.watcher.ask(name)
        try:
            made = await self._patiently(request, lambda: self.cluster.create(JOBS, manifest))
        except ApiError as e:
            if e.status != 409:
                raise
            # Made by this run before: its name says for which attempt. What was then begun goes on.
            await self._patiently(request, lambda: self.watcher.fetch(name))
            return
        self.watcher.note(made)

    async def unmake(self, name: str) -> None:
        """Delete the Job ``name``, and watch it no more."""
        try:
            await asyncio.to_thread(self.cluster.delete, JOBS, name)
        finally:
            self.watcher.forget(name)
            self._news.pop(name, None)

    def _endpoint(self, request: LaunchRequest) -> list[dict[str, Any]]:
        """Where the service is, with the run's token, and who asks: Kubernetes puts the one into the other."""
        held = {"secretKeyRef": {"name": self.secret, "key": ENDPOINT}}
        asks = {"name": "_U_EP_OVERRIDE", "value": f"$({_ADDRESS})/{AS}/{request.action}"}
        return [{"name": _ADDRESS, "valueFrom": held}, asks]

    async def _carried(self, request: LaunchRequest) -> Carried | None:
        """What an attempt of a container task is given and gives; ``None`` for any other task's."""
        spec = task_definition_pb2.TaskSpec.FromString(request.task_spec)
        if loading_of(spec.task_template) is None:
            return None
        document = self.folder.inputs(request.action)
        if not document.is_file():
            await self.mirror.down(document, request.inline)
        given = common_pb2.Inputs.FromString(document.read_bytes())
        attempt, data = (f(request.action, request.attempt) for f in (self.folder.attempt, self.folder.data))
        return Carried(given, self.mirror.key(document), self.mirror.key(attempt), self.mirror.key(data))

    async def _patiently(self, request: LaunchRequest, ask: Callable[[], T]) -> T:
        """What ``ask`` gives, asked again for as long as the cluster does not answer: it is not the attempt's fault.

        A namespace that may hold no more Jobs now (a quota of ``count/jobs.batch``) is waited for as a node is.
        """
        pause, begun = _FIRST_PAUSE, self.clock()
        while True:
            try:
                return await asyncio.to_thread(ask)
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

    def _with_env(self, request: LaunchRequest) -> LaunchRequest:
        return replace(request, env={**self.env, **request.env})

    async def see(self, name: str, request: LaunchRequest, said: Callable[[str, int, str], None]) -> Sight:
        """Wait until the attempt ended, or has to be given up; then nothing of it runs."""
        key, since, line = "", self.clock(), ""
        why, asked = "", self.clock()
        news = self._news[name]
        while True:
            news.clear()
            sight = self._look(name)
            silent = sight.line == QUEUED
            if silent and self.clock() - asked >= _ASK:
                why, asked = await asyncio.to_thread(self._why_queued, name), self.clock()
            if silent and why:
                sight = replace(sight, line=f"{QUEUED}: {why}")
            if sight.line != line:
                line = sight.line
                said(request.action, request.attempt, line)
            if sight.stage == "ended":
                if sight.outcome is not None and sight.outcome.reason == "lost":
                    # It may still run where nobody sees it, and another is to run in its place.
                    await self._patiently(request, lambda: self.cluster.delete(JOBS, name))
                return sight
            if sight.key != key:
                key, since = sight.key, self.clock()
            if sight.patience is not None and self.clock() - since >= sight.patience:
                await self._patiently(request, lambda: self.cluster.delete(JOBS, name))
                return replace(sight, stage="ended")
            ends = [since + sight.patience] if sight.patience is not None else []
            ends += [asked + _ASK] if silent else []
            left = min((end - self.clock() for end in ends), default=_LOOK)
            try:
                async with asyncio.timeout(min(max(left, 0.01), _LOOK)):
                    await news.wait()
            except TimeoutError:
                pass

    def _look(self, name: str) -> Sight:
        known = self.watcher.known(name)
        if not known.seen and not known.pods:
            return Sight("waiting", "is asked for", "asked", self.unscheduled, Outcome(1, "error", "was never seen"))
        return look(known.job, known.pods.values(), known.events, unscheduled=self.unscheduled)

    def _why_queued(self, name: str) -> str:
        """What no event says: that the queue is gone, or stopped."""
        job = self.watcher.known(name).job
        try:
            return why_queued(self.cluster, str(job["metadata"].get("uid"))) or "" if job is not None else ""
        except ApiError:
            return ""

    async def fetch_log(self, name: str, target: Path) -> None:
        """The pod's whole log, as far as the cluster still has it."""
        pods = self.watcher.known(name).pods
        for pod in sorted(pods, key=lambda p: str(pods[p]["metadata"].get("creationTimestamp") or "")):
            text = await asyncio.to_thread(log_of, self.cluster, pods[pod])
            if text:
                with open(target, "ab") as f:
                    f.write(text)

    async def take_over(self, request: LaunchRequest) -> None:
        """Store its log, and fetch what it left to where the engine looks for it."""
        if request.log.is_file():
            await self.mirror.up(request.log)
        attempt = self.folder.attempt(request.action, request.attempt)
        kept = self.folder.outcome(request.action, request.attempt)
        checkpoints = self.folder.checkpoints(request.action, request.attempt)
        limits = {OUTPUTS: request.inline, ERROR: door.INLINE, REPORT: door.INLINE}
        await asyncio.gather(*(self._down(attempt / name, limit) for name, limit in limits.items()))
        if (attempt / OUTPUTS).is_file():
            await self.mirror.copy(self.mirror.key(attempt / OUTPUTS), kept / OUTPUTS)
            await self.mirror.down(kept / OUTPUTS, request.inline)
        if (attempt / REPORT).is_file():
            await self.mirror.copy(self.mirror.key(attempt / REPORT), kept / REPORT)
        if await self.mirror.any(checkpoints):
            # The next attempt is told of it where its folder is there.
            with door.folder(self.folder.path) as top:
                door.make_folders(top, checkpoints.relative_to(self.folder.path).as_posix())

    async def _down(self, path: Path, limit: int) -> None:
        try:
            await self.mirror.down(path, limit)
        except door.Refused:
            # Larger than any message may be: to the engine it is not there.
            path.unlink(missing_ok=True)


def name_of(request: LaunchRequest) -> str:
    return job_name(request.run, request.action, request.attempt)
