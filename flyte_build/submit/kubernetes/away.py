"""A run that a pod of the cluster drives, from the side of whoever submitted it, follows it, or asks something of it.

All of it is in the storage, so following needs nothing else; where the cluster can be asked, too, one hears why a
driver has not begun.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping

from ...kernel.errors import RunError
from ..history import Run
from ..journal import ActionRecord
from ..observer import Observer
from ..requests import request_name
from . import reading
from .api import ApiError, Cluster
from .mirror import Mirror
from .names import run_object
from .room import Room
from .sight import Sight, look
from .stored_journal import claim
from .watching import EVENTS, JOBS, PODS

__all__ = ["abort", "ask", "attend"]

_LOOK = 2.0
# So long (seconds) a driver may take to obey; then what it made is deleted without it.
OBEYS_SECONDS = 45.0


async def attend(mirror: Mirror, cluster: Cluster, run: str, observer: Observer, unscheduled: float) -> Run:
    """Follow ``run`` to its end (see :func:`~.reading.follow`), and say why its driver does not begin.

    Raises :class:`RunError` where it never will, and then nothing of it is left in the cluster.
    """
    following = asyncio.create_task(reading.follow(mirror, run, observer))
    waiting = asyncio.create_task(_driver(cluster, run, observer, unscheduled))
    try:
        done, _ = await asyncio.wait([following, waiting], return_when=asyncio.FIRST_COMPLETED)
        if waiting in done and (why := waiting.result()) is not None and not following.done():
            # It may have been the last thing that it did to end the run.
            async with asyncio.timeout(5 * _LOOK):
                return await asyncio.shield(following)
        return await following
    except TimeoutError:
        await _end(mirror, cluster, run, "failed")
        raise RunError(
            f"the driver of run {run} does not run: {why}", hint=f"`kubectl describe job {run_object(run)}` has more"
        ) from None
    finally:
        for task in (following, waiting):
            task.cancel()
        await asyncio.wait([following, waiting])


async def _driver(cluster: Cluster, run: str, observer: Observer, unscheduled: float) -> str | None:
    """Say how the driver's pod looks for as long as it does not run; why it never will, or ``None`` once it does."""
    key, since, line, room = "", time.monotonic(), "", Room(cluster)
    while True:
        try:
            sight = await room.told(run, await asyncio.to_thread(_look, cluster, run, unscheduled))
        except ApiError:
            await asyncio.sleep(_LOOK)  # the storage tells all the same
            continue
        if sight.line != line and sight.stage not in ("running", "ended"):
            line = sight.line
            observer.on_line("", 0, f"driver: {line}")
        if sight.stage == "running":
            since = time.monotonic()
        if sight.stage == "ended":
            return None if sight.outcome is not None and sight.outcome.exit_code == 0 else sight.line
        if sight.key != key:
            key, since = sight.key, time.monotonic()
        if sight.patience is not None and time.monotonic() - since >= sight.patience:
            return sight.line
        await asyncio.sleep(_LOOK)


def _look(cluster: Cluster, run: str, unscheduled: float) -> Sight:
    name = run_object(run)
    job = cluster.get(JOBS, name)
    pods = [p for page in cluster.pages(PODS, {"labelSelector": f"job-name={name}"}) for p in page.get("items") or ()]
    alive = [p for p in pods if (p.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
    conditions = {c["type"] for c in ((job or {}).get("status") or {}).get("conditions") or () if c["status"] == "True"}
    if job is not None and not alive and not conditions & {"Complete", "Failed"}:
        return Sight("waiting", "waits for its pod", "no pod", unscheduled)  # one that failed is followed by another
    events = [
        {"reason": e.get("reason"), "message": e.get("message")}
        for page in cluster.pages(EVENTS, {})
        for e in page.get("items") or ()
        if str((e.get("involvedObject") or {}).get("name")).startswith(name)
    ]
    return look(job, alive or pods, events, unscheduled=unscheduled)


async def ask(mirror: Mirror, run: str, request: Mapping[str, str]) -> None:
    """Leave a request for the run's driver (see ``requests``). Raises :class:`RunError`."""
    await mirror.put(f"{run}/requests/{request_name()}", json.dumps(dict(request)).encode())


async def abort(mirror: Mirror, cluster: Cluster | None, run: str, observer: Observer) -> Run:
    """End ``run``: by its driver, and where that does not obey, without it. Raises :class:`RunError`.

    Without a ``cluster`` the request is left, and what came of it until then is given. ``observer`` hears how every
    action ended, and not again how it went until then.
    """
    await ask(mirror, run, {"abort": "asked for"})
    try:
        async with asyncio.timeout(OBEYS_SECONDS):
            found = await reading.follow(mirror, run, _Quiet(observer))
    except TimeoutError:
        if cluster is None:
            observer.warn(f"the driver of {run} has not obeyed yet; it will when it looks at the storage")
        else:
            await _end(mirror, cluster, run, "aborted")
        found = await reading.read_run(mirror, run)
    for record in found.actions:
        observer.on_action(record)
    return found


class _Quiet:
    """Hears of warnings only."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def on_action(self, record: ActionRecord) -> None:
        return None

    def on_line(self, action: str, attempt: int, line: str) -> None:
        return None

    def warn(self, message: str) -> None:
        self._observer.warn(message)


async def _end(mirror: Mirror, cluster: Cluster, run: str, phase: str) -> None:
    """Delete the driver, with all that it made, and say so in the journal."""
    await asyncio.to_thread(cluster.delete, JOBS, run_object(run))
    number = await claim(mirror, run)
    end = json.dumps({"run": {"phase": phase, "ended": time.time()}}).encode() + b"\n"
    await mirror.put(f"{run}/journal/{number:06d}-000001.jsonl", end)
