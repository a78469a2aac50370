"""What an attempt left in the storage, taken over: found by one list, copied within the storage, told to the engine.

Of what a good end left only its place matters here, so its bytes do not come to this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from .. import door
from ..action import ERROR, OUTPUTS, REPORT, LaunchRequest, Left, Outcome
from ..storage import RunFolder
from .api import ApiError
from .mirror import Mirror
from .straight import Straight
from .watching import PODS, Watcher, log_query

__all__ = ["pods_log", "take_over"]

_LOG_BYTES = 64 << 20


async def pods_log(straight: Straight, watcher: Watcher, job: str) -> bytes:
    """The whole log of the pods of ``job``, in their order, as far as the cluster still has it."""
    pods = watcher.known(job).pods
    if not pods:
        # Of its Job's end one may be told before one is told of its pod: by another watch.
        with contextlib.suppress(ApiError):
            await asyncio.to_thread(watcher.fetch, job)
        pods = watcher.known(job).pods
    inorder = sorted(pods, key=lambda p: str(pods[p]["metadata"].get("creationTimestamp") or ""))
    return b"".join([await _log_of(straight, pod, log_query(pods[pod])) for pod in inorder])


async def _log_of(straight: Straight, pod: str, whose: Mapping[str, str]) -> bytes:
    try:
        return await straight.text(PODS, f"{pod}/log", {**whose, "limitBytes": str(_LOG_BYTES)}, 30.0)
    except (ApiError, OSError):
        return b""


async def take_over(folder: RunFolder, mirror: Mirror, request: LaunchRequest, outcome: Outcome) -> Left:
    """Keep what the attempt of ``request`` left, which ended with ``outcome``. A document larger than any message may
    be is to the engine not there. Raises :class:`RunError`."""
    attempt = folder.attempt(request.action, request.attempt)
    kept = folder.outcome(request.action, request.attempt)
    limits = {OUTPUTS: request.inline, ERROR: door.INLINE, REPORT: door.INLINE}
    there = await mirror.sizes(attempt, limits)
    left = {name for name, size in there.items() if size <= limits[name]}
    for name in left - {ERROR}:  # one, or two
        await mirror.copy(mirror.key(attempt / name), kept / name)
    error = await mirror.get(mirror.key(attempt / ERROR)) if ERROR in left else None
    # After a good end comes no other attempt.
    good = OUTPUTS in left and error is None and not outcome.reason
    checkpoints = folder.checkpoints(request.action, request.attempt)
    if not good and await mirror.any(checkpoints):
        # The next attempt is told of it where its folder is there.
        with door.folder(folder.path) as top:
            door.make_folders(top, checkpoints.relative_to(folder.path).as_posix())
    return Left(OUTPUTS in left, REPORT in left, error)
