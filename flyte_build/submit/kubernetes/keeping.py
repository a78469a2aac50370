"""What keeps the apps of ``serve --on`` there for as long as somebody serves them: a Job that owns them, and ends when
nobody has been heard of for a while.

Whoever serves changes an object in the storage again and again. Where that stops (a process that was killed, a machine
that was closed) this ends, Kubernetes removes the Job, and with it all that it owns. What cannot be read says nothing.

    python -m flyte_build.submit.kubernetes.keeping
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError

from .mirror import mirror_of
from .names import label_value, run_object
from .needs import NOTHING, Needs
from .own_pods import own_pod
from .pod import MANAGED_BY
from .target import Target

__all__ = ["BEAT_SECONDS", "SILENT_SECONDS", "beat_key", "keep", "keeper_job", "main"]

BEAT_SECONDS, SILENT_SECONDS = 15.0, 90.0
_REQUEST = "KEEP_REQUEST"
_LOOK = 5.0


def beat_key(name: str) -> str:
    """The object that whoever serves changes."""
    return f"{name}/served"


def keeper_job(name: str, image: str, target: Target, needs: Needs = NOTHING) -> dict[str, Any]:
    """The Job that owns what is served as ``name``, on ``image`` (that of runs' drivers, by digest)."""
    place = target.place
    labels = {**place.labels, "run": label_value(name), MANAGED_BY: "flyte-build"}
    told = {"storage": target.storage, "options": dict(target.options), "key": beat_key(name)}
    container = {
        "name": "keeper",
        "image": image,
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    }
    pod = {
        **own_pod(container, "keeping", (_REQUEST, told), target, needs),
        "restartPolicy": "OnFailure",
        "automountServiceAccountToken": False,
        **({"serviceAccountName": place.service_account} if place.service_account else {}),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": run_object(name), "namespace": place.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 20,
            # What it owns goes with it, and at once.
            "ttlSecondsAfterFinished": 0,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def main() -> int:
    told: Mapping[str, Any] = json.loads(os.environ[_REQUEST])
    store = mirror_of(told["storage"], Path("/"), told["options"]).store

    def read() -> bytes | None:
        try:
            return bytes(obstore.get(store, told["key"]).bytes())
        except (BaseError, OSError):
            return None

    keep(read, time.monotonic, time.sleep)
    return 0


def keep(read: Callable[[], bytes | None], clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
    """Return once what ``read`` gives has not changed for :data:`SILENT_SECONDS`; ``None`` says nothing."""
    last, since = read(), clock()
    while clock() - since < SILENT_SECONDS:
        sleep(_LOOK)
        now = read()
        if now is None or now != last:
            last, since = now if now is not None else last, clock()


if __name__ == "__main__":
    sys.exit(main())
