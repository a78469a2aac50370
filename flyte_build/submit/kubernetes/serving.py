"""Apps that are served on a cluster without a run, until whoever serves them ends, in whatever way.

A keeper's Job owns them (see ``keeping``), so what is killed here leaves nothing there for long. What the app prints is
followed by its pods' logs. Nothing is built, and nobody's code is read.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...kernel.errors import RunError
from .api import ApiError, Cluster
from .cluster_apps import ClusterApp, ClusterApps, app_object
from .drive import storage_env
from .endpoint import owner_of
from .keeping import BEAT_SECONDS, beat_key
from .mirror import Mirror
from .needs import Needs
from .room import Room
from .target import Target
from .watching import JOBS, PODS, log_query

__all__ = ["Served", "serve_away"]

_LOOK = 1.0
# Seconds that an app may print nothing, and is still listened to.
_SILENCE = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Served:
    """What is served as ``name``: ``apps``, of which ``main`` is the one that was asked for; ``images`` and ``needs``
    as :class:`ClusterApps` has them, ``code`` is the bundle's URI, ``keeper`` the Job that owns it all, and ``pins``
    says what other containers' images are (see ``pod``)."""

    name: str
    apps: Sequence[ClusterApp]
    main: str
    images: Mapping[str, str]
    needs: Mapping[str, Needs]
    code: str
    keeper: Mapping[str, Any]
    pins: Mapping[str, str] = field(default_factory=dict)


async def serve_away(
    cluster: Cluster,
    mirror: Mirror,
    target: Target,
    served: Served,
    ready: Callable[[str], None],
    printed: Callable[[str], None],
    said: Callable[[str], None],
    stop: threading.Event,
) -> None:
    """Serve until ``stop`` is set: ``ready`` hears the URL, as pods reach it, ``printed`` what the app prints, and
    ``said`` what is waited for. Nothing is left. Raises :class:`RunError` for an app that does not answer."""
    await mirror.put(beat_key(served.name), b"0")
    job = await asyncio.to_thread(cluster.create, JOBS, served.keeper)
    owner = owner_of({"apiVersion": "batch/v1", "kind": "Job", **job})
    apps = ClusterApps(
        cluster, mirror, served.name, replace(target.place, owner=owner), list(served.apps), dict(served.images),
        dict(served.needs), served.code, {**storage_env(target), **served.pins}, target.unscheduled,
        lambda action, attempt, line: said(line), room=Room(cluster),
    )  # fmt: skip
    beating = asyncio.create_task(_beat(mirror, served.name, said))
    following = asyncio.create_task(_print(cluster, apps, served.main, printed))
    try:
        waiting = asyncio.create_task(apps.ready())
        if not await _either(stop, waiting):
            waiting.cancel()
            return
        if (failed := waiting.result()) is not None:
            raise RunError(failed.message)
        ready(f"http://{app_object(served.name, served.main)}.{cluster.namespace}.svc")
        await _either(stop)
    finally:
        for task in (beating, following):
            task.cancel()
        try:
            await asyncio.shield(apps.close())
        finally:
            await asyncio.to_thread(cluster.delete, JOBS, job["metadata"]["name"])
            await mirror.delete([beat_key(served.name)])


async def _either(stop: threading.Event, *waited: asyncio.Task[Any]) -> bool:
    """Wait for any of them; whether it is to go on."""
    while not stop.is_set():
        if waited and (await asyncio.wait(waited, timeout=0.1, return_when=asyncio.FIRST_COMPLETED))[0]:
            return True
        if not waited:
            await asyncio.sleep(0.1)
    return False


async def _beat(mirror: Mirror, name: str, said: Callable[[str], None]) -> None:
    for number in itertools.count(1):
        await asyncio.sleep(BEAT_SECONDS)
        try:
            await mirror.put(beat_key(name), str(number).encode())
        except RunError as e:
            said(f"the storage does not answer: {e.message}")


async def _print(cluster: Cluster, apps: ClusterApps, name: str, printed: Callable[[str], None]) -> None:
    """What the pods of app ``name`` print, as it comes: a thread each, which ends when its pod's container does."""
    told: set[tuple[str, int]] = set()
    while True:
        for pod in await asyncio.to_thread(_pods, apps, name):
            key = str(pod["metadata"]["name"]), _restarts(pod)
            if key not in told and _began(pod):
                told.add(key)
                threading.Thread(target=_follow, args=(cluster, pod, printed), daemon=True).start()
        await asyncio.sleep(_LOOK)


def _pods(apps: ClusterApps, name: str) -> list[dict[str, Any]]:
    try:
        return apps.pods(next(app for app in apps.apps if app.name == name))
    except ApiError:
        return []


def _restarts(pod: Mapping[str, Any]) -> int:
    return sum(int(c.get("restartCount") or 0) for c in (pod.get("status") or {}).get("containerStatuses") or ())


def _began(pod: Mapping[str, Any]) -> bool:
    states = [c.get("state") or {} for c in (pod.get("status") or {}).get("containerStatuses") or ()]
    return any({"running", "terminated"} & state.keys() for state in states)


def _follow(cluster: Cluster, pod: Mapping[str, Any], printed: Callable[[str], None]) -> None:
    path = f"{cluster.path(PODS, pod['metadata']['name'])}/log"
    try:
        for line in cluster.lines(path, {**log_query(pod), "follow": "true"}, _SILENCE):
            printed(f"{line.decode(errors='replace')}\n")
    except (ApiError, OSError):
        return  # it is gone
