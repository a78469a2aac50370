"""What runs in a driver's pod: a small process 1, and the driver, which it begins anew whenever that is gone.

The driver writes down what happens before anybody hears of it, so it may end at any instant, and is never asked to end
in order: it is killed. What it has to know is in its environment (where the storage is, and which run); the rest is in
the storage.

    python -m flyte_build.submit.kubernetes.driver
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ...kernel.errors import FlyteBuildError, InputError
from ..action import Phase
from ..journal import ActionRecord
from ..service import serve_on
from .api import ApiError, Cluster, connect
from .drive import ClusterRun, drive
from .driver_job import ENVIRONMENT, FINAL, PORT, SERVICES, policy_of, service_of
from .endpoint import SECRETS, make_endpoint, new_token, owner_of, token_of
from .mirror import Mirror, mirror_of
from .names import run_object
from .submission import Submission, read_submission
from .target import Target, read_target
from .watching import JOBS

__all__ = ["main"]

_ONCE = "--once"
# One that lives for so long (seconds) has done something: the next is begun at once again.
_LONG, _MOST_PAUSE = 20.0, 30.0
# Of the machine that submitted, and not of the cluster.
_ELSEWHERE = ("context", "kubeconfig")


def main() -> int:
    return _drive() if _ONCE in sys.argv[1:] else _keep()


def _keep() -> int:
    """Process 1: begin the driver, again and again, until it has come to an end."""
    pause = 0.2
    while True:
        began = time.monotonic()
        driver = subprocess.Popen([sys.executable, "-I", "-m", "flyte_build.submit.kubernetes.driver", _ONCE])

        def end(number: int, _: object, driver: subprocess.Popen[bytes] = driver) -> None:
            driver.kill()
            os._exit(128 + number)

        signal.signal(signal.SIGTERM, end)
        code = driver.wait()
        if code in (0, FINAL):
            return code
        if time.monotonic() - began > _LONG:
            pause = 0.2
        _say(f"the driver ended with {code}, and is begun anew in {pause:g} s")
        time.sleep(pause)
        pause = min(pause * 2, _MOST_PAUSE) if code > 0 else pause


def _drive() -> int:
    told = json.loads(os.environ[ENVIRONMENT])
    run = str(told["run"])
    # Of this driver alone: another may still be ending.
    with tempfile.TemporaryDirectory(prefix="flyte-build-") as folder:
        try:
            mirror = mirror_of(told["storage"], Path(folder), told["options"])
            record = asyncio.run(_driven(mirror, run))
        except InputError as e:
            _say(f"error: {e.message}")
            return FINAL
        except FlyteBuildError as e:
            _say(f"error: {e.message}")
            return 1
    _say(f"{run} {record.phase.value}" + (f": {record.error.code}: {record.error.message}" if record.error else ""))
    return 0


async def _driven(mirror: Mirror, run: str) -> ActionRecord:
    submission = await read_submission(mirror, run)
    table = {key: value for key, value in submission.target.items() if key not in _ELSEWHERE}
    target = read_target(submission.target_name, table, f"{mirror.url}/{run}/request.json")
    cluster = connect(namespace=target.place.namespace)
    listener = socket.create_server(("", PORT))
    record = await _on(cluster, target, mirror, submission, listener)
    for kind in (SECRETS, SERVICES):
        await asyncio.to_thread(cluster.delete, kind, run_object(run))
    return record


async def _on(
    cluster: Cluster, target: Target, mirror: Mirror, submission: Submission, listener: socket.socket
) -> ActionRecord:
    run = submission.run
    job = await asyncio.to_thread(cluster.get, JOBS, run_object(run))
    if job is None:
        raise InputError(f"the Job {run_object(run)}, whose pod this is, is gone")
    owner = owner_of({"apiVersion": "batch/v1", "kind": "Job", **job})
    observer = Said()
    try:
        await asyncio.to_thread(policy_of, cluster, run, owner)
    except ApiError as e:
        observer.warn(f"other pods may call this run's service, and need its token for it: {e.message}")
    address = await asyncio.to_thread(service_of, cluster, run, owner)
    secret = await asyncio.to_thread(make_endpoint, cluster, run, address, PORT, new_token(), owner)
    token = token_of(secret)
    over = ClusterRun(submission, target, cluster, mirror, secret["metadata"]["name"], owner)
    return (await drive(over, observer, lambda service: serve_on(service, listener, token)))[0]


class Said:
    """What a driver prints: its pod's log."""

    def on_action(self, record: ActionRecord) -> None:
        if record.phase is not Phase.QUEUED:
            tried = f" (attempt {record.attempt})" if record.attempt > 1 else ""
            _say(f"{record.phase.value} {record.task} {record.name}{tried}")

    def on_line(self, action: str, attempt: int, line: str) -> None:
        return None

    def warn(self, message: str) -> None:
        _say(f"warning: {message}")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
