"""The driver of a run on a cluster: the engine over Jobs and object storage, from wherever the run is now to its end.

It holds nothing that the storage and the cluster's labels do not: begun anew at any instant it reads what was enqueued
and what the journal says, and goes on. A Job that an earlier driver made has the name that this one would give it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any

from ...kernel.errors import RunError
from ...kernel.values import dataclass, replace
from ..action import ROOT_ACTION, Phase
from ..control.application import Control
from ..driving import Drive
from ..history import outcomes
from ..journal import ActionRecord
from ..observer import Observer
from ..requests import MOST
from ..restored import restored
from ..reuse import Reuse
from ..scheduler import Scheduler
from ..service import Service
from ..storage import RunFolder, Storage
from .api import Cluster
from .called_apps import RunApps
from .cluster_apps import ClusterApp, ClusterApps
from .container_task import Carrier
from .launcher import REQUESTS, KubernetesLauncher
from .mirror import Mirror
from .names import label_value
from .needs import Needs
from .pod import SIDECARS
from .reading import ALIVE, BEAT_SECONDS, read_chain
from .replica_pods import REPLICAS, ReplicaPods
from .room import Room
from .stored_journal import StoredJournal, claim, read_actions, read_stored
from .stored_results import StoredResults
from .stored_stash import StoredStash, recall
from .stored_tasks import StoredDeployments
from .straight import Straight
from .submission import Submission
from .target import Target
from .watching import Watcher

__all__ = ["ClusterRun", "drive", "storage_env"]

_PREFIXES = {"s3": "AWS_", "s3a": "AWS_", "gs": "GOOGLE_"}


@dataclass(frozen=True, slots=True)
class ClusterRun:
    """A run, where it runs, and where its documents are. ``secret`` has the service's address, ``owner`` is the object
    with which all that is made for it goes."""

    submission: Submission
    target: Target
    cluster: Cluster
    mirror: Mirror
    secret: str
    owner: Mapping[str, Any]

    @property
    def folder(self) -> RunFolder:
        return Storage(self.mirror.runs, self.mirror.url).run(self.submission.run)


def storage_env(target: Target) -> dict[str, str]:
    """The variables that tell a pod's object store what the target's options say, by the store's own names."""
    prefix = _PREFIXES.get(target.storage.partition("://")[0], "AZURE_")
    found = {f"{prefix}{key.upper()}": value for key, value in target.options.items()}
    # Flyte's runtime gives its own words precedence over the store's.
    if prefix == "AWS_" and (endpoint := target.options.get("endpoint")):
        found["FLYTE_AWS_ENDPOINT"] = endpoint
    return found


async def drive(
    run: ClusterRun, observer: Observer, serving: Callable[[Service], AbstractAsyncContextManager[None]]
) -> tuple[ActionRecord, tuple[ActionRecord, ...]]:
    """Drive ``run`` to its end: the root's last record, and all. Raises :class:`RunError`."""
    submission, mirror, folder = run.submission, run.mirror, run.folder
    # By itself a loop has as many as there are processors, and each waits for an answer most of its time.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(REQUESTS, "asyncio"))
    for path in (folder.meta, folder.raw, folder.kept):
        path.mkdir(parents=True, exist_ok=True)
    folder.path.chmod(0o700)
    number = await claim(mirror, submission.run)
    actions, entries = await asyncio.gather(read_actions(mirror, submission.run), read_stored(mirror, submission.run))
    before = restored(actions, entries, submission.bundle)
    await _known(folder, mirror, [found.record for found in before if found.record.attempt])
    over = any("run" in entry for entry in entries) and before[0].record.phase.terminal
    journal = StoredJournal(folder.journal, mirror, submission.run, number)
    heard = _Both(observer, journal)
    room = Room(run.cluster)
    apps = RunApps(_apps(run, heard.on_line, room))
    facts, deployed, own = submission.facts(folder), StoredDeployments(mirror), submission.own_tasks()
    stash = StoredStash(
        mirror, folder, apps.own.images, apps.own.needs, journal.append, apps, signed=run.target.tls
    )  # fmt: skip
    # Behind the run's end nothing may come in its journal.
    await recall(entries, facts, stash, deployed, own, observer.warn if over else heard.warn)
    if over:
        await apps.close()  # an earlier driver may have come no further than to its word
        return before[0].record, tuple(found.record for found in before)
    chain = await read_chain(mirror, submission.resume, observer.warn) if submission.resume else []
    wake: list[Callable[[str], None]] = []
    watcher = Watcher(
        run.cluster, f"run={label_value(submission.run)}", lambda job: wake[0](job) if wake else None, observer.warn
    )
    scheduler = Scheduler(float("inf"), 1 << 62)  # the cluster's
    replicas = ReplicaPods(folder, number, run.cluster, mirror, watcher, scheduler.waits, observer.warn)
    straight = Straight(run.cluster)
    launcher = KubernetesLauncher(
        folder=folder,
        cluster=run.cluster,
        straight=straight,
        place=apps.own.place,
        mirror=mirror,
        watcher=watcher,
        images=apps.own.images,
        secret=run.secret,
        env=storage_env(run.target),
        unscheduled=run.target.unscheduled,
        needs=apps.own.needs,
        apps=apps,
        tls=run.target.tls,
        replicas=replicas,
        room=room,
        said=heard.on_line,
        carrier=Carrier(
            submission.carrier,
            run.target.storage,
            run.target.options,
            storage_env(run.target),
            run.target.storage_secret,
        )
        if submission.carrier
        else None,
        begun=frozenset((r.record.name, r.record.attempt) for r in before if r.record.phase is Phase.RUNNING),
    )
    wake.append(launcher.changed(asyncio.get_running_loop()))
    reuse = Reuse(StoredResults(mirror), observer, outcomes(chain), submission.overwrite_cache)
    begun = {found.record.name for found in before if found.child is not None} & actions.keys()
    specs = {name: actions[name].task.spec for name in begun}
    control = Control(deployed, own, lambda _: stash, specs)
    inbox = StoredInbox(mirror, submission.run)
    if before:
        await replicas.sweep()
    watcher.start()
    beating = asyncio.create_task(_beat(mirror, submission.run))
    try:

        def served(service: Service) -> AbstractAsyncContextManager[None]:
            service.answer(REPLICAS, replicas)
            return serving(service)

        drive = Drive(facts, launcher, scheduler, reuse, journal, heard, served, inbox, control)
        return await drive.go(actions[ROOT_ACTION], before)
    finally:
        try:
            await replicas.close()
            await apps.close()
        finally:
            beating.cancel()
            watcher.close()
            straight.close()


def _apps(run: ClusterRun, said: Callable[[str, int, str], None], room: Room) -> ClusterApps:
    submission = run.submission
    pins = {name: value for name, value in submission.env.items() if name == SIDECARS}
    return ClusterApps(
        run.cluster, run.mirror, submission.run, replace(run.target.place, owner=run.owner),
        [ClusterApp.from_json(told) for told in submission.apps],
        {digest: reference for reference, digest in submission.images.items()},
        {digest: Needs.from_json(told) for digest, told in submission.needs.items()},
        submission.code(run.mirror.url), {**storage_env(run.target), **pins}, run.target.unscheduled, said,
        room=room,
    )  # fmt: skip


async def _beat(mirror: Mirror, run: str) -> None:
    """Say that this driver lives, to whoever has only the storage."""
    while True:
        with contextlib.suppress(RunError):
            await mirror.put(f"{run}/{ALIVE}", b"{}")
        await asyncio.sleep(BEAT_SECONDS)


async def _known(folder: RunFolder, mirror: Mirror, records: list[ActionRecord]) -> None:
    """Note here what earlier drivers knew of: attempts that there were, and checkpoints that the last one left."""
    for record in records:
        folder.outcome(record.name, record.attempt).mkdir(parents=True, exist_ok=True)
        before = folder.checkpoints(record.name, record.attempt - 1)
        if record.attempt > 1 and not record.phase.terminal and await mirror.any(before):
            os.makedirs(before, exist_ok=True)


class _Both:
    """The observer, and the journal, in which whoever follows from elsewhere reads what pods wait for."""

    def __init__(self, observer: Observer, journal: StoredJournal) -> None:
        self._observer = observer
        self._journal = journal

    def on_action(self, record: ActionRecord) -> None:
        self._observer.on_action(record)

    def on_line(self, action: str, attempt: int, line: str) -> None:
        self._observer.on_line(action, attempt, line)
        self._journal.note({"line": {"action": action, "attempt": attempt, "text": line}})

    def warn(self, message: str) -> None:
        self._observer.warn(message)
        self._journal.note({"line": {"action": "", "attempt": 0, "text": f"driver: {message}"}})


class StoredInbox:
    """Requests below ``<run>/requests``; see :class:`~..requests.Inbox`."""

    pause = 2.0

    def __init__(self, mirror: Mirror, run: str) -> None:
        self._mirror = mirror
        self._prefix = f"{run}/requests"

    async def look(self) -> list[tuple[str, bytes]]:
        keys = await self._mirror.keys(self._prefix)
        return [(key, (await self._mirror.get(key) or b"") if size <= MOST else b"") for key, size in keys.items()]

    async def done(self, name: str) -> None:
        await self._mirror.delete([name])
