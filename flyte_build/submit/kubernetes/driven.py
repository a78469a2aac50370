"""The driver in its pod: finds its run by its environment, makes what its pods need to reach it, and drives it.

Run by ``driver``, as often as it takes; gives the exit code that says whether it is to be begun anew.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from ...kernel.errors import FlyteBuildError, InputError
from ..action import Phase
from ..journal import ActionRecord
from ..loop import seldom_collected
from ..service import serve_on
from .api import ApiError, Cluster, connect
from .drive import ClusterRun, drive
from .driver_job import ENVIRONMENT, PORT, SERVICES, keep_job, policy_of, service_of
from .endpoint import SECRETS, context_of, make_endpoint, new_token, owner_of, token_of
from .errors import FINAL
from .mirror import Mirror, mirror_of
from .names import run_object
from .submission import Submission, read_submission
from .target import Target, read_target
from .watching import JOBS

__all__ = ["drive_here"]

# Of the machine that submitted, and not of the cluster.
_ELSEWHERE = ("context", "kubeconfig")
Say = Callable[[str], None]


def drive_here(say: Say) -> int:
    """Drive the run that the environment names; 0 once it has ended, however, and ``FINAL`` where it never can."""
    told = json.loads(os.environ[ENVIRONMENT])
    run = str(told["run"])
    gc.collect()  # what importing left is not kept with what it brought
    # The folder is of this driver alone: another may still be ending.
    with seldom_collected(), tempfile.TemporaryDirectory(prefix="flyte-build-") as folder:
        try:
            mirror = mirror_of(told["storage"], Path(folder), told["options"])
            record = asyncio.run(_driven(mirror, run, say))
        except InputError as e:
            say(f"error: {e.message}")
            return FINAL
        except FlyteBuildError as e:
            say(f"error: {e.message}")
            return 1
    say(f"{run} {record.phase.value}" + (f": {record.error.code}: {record.error.message}" if record.error else ""))
    return 0


async def _driven(mirror: Mirror, run: str, say: Say) -> ActionRecord:
    submission = await read_submission(mirror, run)
    table = {key: value for key, value in submission.target.items() if key not in _ELSEWHERE}
    target = read_target(submission.target_name, table, f"{mirror.url}/{run}/request.json")
    cluster = connect(namespace=target.place.namespace)
    listener = socket.create_server(("", PORT))
    record = await _on(cluster, target, mirror, submission, listener, Said(say))
    await asyncio.to_thread(keep_job, cluster, submission.run, target.place.keep_seconds)
    for kind in (SECRETS, SERVICES):
        await asyncio.to_thread(cluster.delete, kind, run_object(run))
    return record


async def _on(
    cluster: Cluster, target: Target, mirror: Mirror, submission: Submission, listener: socket.socket, observer: Said
) -> ActionRecord:
    run = submission.run
    job = await asyncio.to_thread(cluster.get, JOBS, run_object(run))
    if job is None:
        raise InputError(f"the Job {run_object(run)}, whose pod this is, is gone")
    owner = owner_of({"apiVersion": "batch/v1", "kind": "Job", **job})
    try:
        await asyncio.to_thread(policy_of, cluster, run, owner)
    except ApiError as e:
        observer.warn(f"other pods may call this run's service, and need its token for it: {e.message}")
    address = await asyncio.to_thread(service_of, cluster, run, owner)
    secret = await asyncio.to_thread(make_endpoint, cluster, run, address, PORT, new_token(), owner, tls=target.tls)
    token, tls = token_of(secret), context_of(secret)
    over = ClusterRun(submission, target, cluster, mirror, secret["metadata"]["name"], owner)
    return (await drive(over, observer, lambda service: serve_on(service, listener, token, tls)))[0]


class Said:
    """What a driver prints: its pod's log."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def on_action(self, record: ActionRecord) -> None:
        if record.phase is not Phase.QUEUED:
            tried = f" (attempt {record.attempt})" if record.attempt > 1 else ""
            self._say(f"{record.phase.value} {record.task} {record.name}{tried}")

    def on_line(self, action: str, attempt: int, line: str) -> None:
        return None

    def warn(self, message: str) -> None:
        self._say(f"warning: {message}")
