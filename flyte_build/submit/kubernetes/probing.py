"""Pods that try a target out: whether a node pulls by digest what was pushed, and whether a pod reaches the storage.

A probe is a Job as tasks have it (account, pull secrets, queue, labels, admission), small, and gone when this returns,
however it returns.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from flyteidl2.core import tasks_pb2
from flyteidl2.task import task_definition_pb2

from ..action import LaunchRequest
from .api import ApiError, Cluster
from .checking import Check, failed
from .pod import job
from .sight import Sight, look
from .target import Target
from .watching import JOBS, PODS

__all__ = ["PATIENCE", "probe_pull", "probe_storage"]

PATIENCE = 120.0
"""Seconds that a probe may take, besides what is known to be hopeless sooner."""
_LOOK = 0.5
_EVENTS = "v1/events"
# The image has no program: that it was tried says that it is on the node.
_PULLED = ("StartError", "RunContainerError", "CreateContainerError")

# Runs in an image of the project's, by whose own object store tasks write there.
_SCRIPT = """\
import json, secrets, sys
import obstore
from obstore.store import from_url
url, options = sys.argv[1], json.loads(sys.argv[2])
connection = {k: options.pop(k) == "true" for k in ("allow_http", "allow_invalid_certificates") if k in options}
store = from_url(url, client_options=connection or None, **options)
key = "flyte-build-check-" + secrets.token_hex(8)
obstore.put(store, key, b"flyte-build")
try:
    assert bytes(obstore.get(store, key).bytes()) == b"flyte-build"
finally:
    obstore.delete(store, key)
"""


def probe_pull(
    cluster: Cluster, target: Target, image: str, *, clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Check:  # fmt: skip
    """Whether a pod gets ``image`` (by digest) onto its node; the image need not have any program."""
    what = "a pod pulls by digest"
    try:
        sight, _ = _probed(cluster, target, image, (), clock, sleep)
    except (ApiError, ValueError) as e:
        return failed(what, e)
    outcome = sight.outcome
    if outcome is not None and (outcome.code in _PULLED or not outcome.exit_code):
        return Check(what, "ok", f"{image.partition('@')[0]}, from a node of the cluster")
    return _not_run(what, sight)


def probe_storage(
    cluster: Cluster, target: Target, image: str, *, clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Check:  # fmt: skip
    """Whether a pod writes, reads and removes in the storage; ``image`` has Python and flyte, as tasks' have."""
    what = "storage from a pod"
    command = ("python", "-c", _SCRIPT, target.storage, json.dumps(dict(target.options)))
    try:
        sight, log = _probed(cluster, target, image, command, clock, sleep)
    except (ApiError, ValueError) as e:
        return failed(what, e)
    outcome = sight.outcome
    if outcome is not None and not outcome.exit_code and not outcome.reason:
        return Check(what, "ok", f"written, read and removed in {target.storage}")
    if outcome is not None and not outcome.reason and log:
        hint = "a pod's credentials come from its service account, or from the Secret that `storage-secret` names"
        return Check(what, "failed", f"{target.storage}: {log.splitlines()[-1]}", hint)
    if outcome is not None and outcome.code == "StartError":
        return Check(what, "failed", f"{image} has no python", "name an image of your tasks' with `--image`")
    return _not_run(what, sight)


def _not_run(what: str, sight: Sight) -> Check:
    hint = None
    if sight.outcome is not None and sight.outcome.code == "ImagePullFailed":
        hint = "nodes pull with `pull-secrets` of the target, or with what they have of their own"
    return Check(what, "failed", sight.line, hint)


def _probed(
    cluster: Cluster, target: Target, image: str, command: tuple[str, ...], clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> tuple[Sight, str]:  # fmt: skip
    """How a pod of ``image`` ended, and what it printed; nothing of it is left."""
    manifest = _manifest(target, image, command)
    name = str(manifest["metadata"]["name"])
    cluster.create(JOBS, manifest)
    try:
        sight, pod = _followed(cluster, name, clock, sleep)
        return sight, _log(cluster, pod) if pod else ""
    finally:
        cluster.delete(JOBS, name, grace=0)
        begun = clock()
        while cluster.get(JOBS, name) is not None and clock() - begun < PATIENCE:
            sleep(_LOOK)


def _manifest(target: Target, image: str, command: tuple[str, ...]) -> dict[str, Any]:
    task = tasks_pb2.TaskTemplate(type="python")
    task.id.name = "target check"
    task.container.command.extend(command)
    asked = task.container.resources.requests
    asked.add(name=tasks_pb2.Resources.CPU, value="50m")
    asked.add(name=tasks_pb2.Resources.MEMORY, value="128Mi")
    spec = task_definition_pb2.TaskSpec(task_template=task).SerializeToString()
    run = f"check-{secrets.token_hex(4)}"
    request = LaunchRequest(run, "a0", 1, "target check", image, (), {}, Path("/dev/null"), task_spec=spec)
    manifest = job(request, image, replace(target.place, keep_seconds=600))
    (container,) = (c for c in manifest["spec"]["template"]["spec"]["containers"] if c["image"] == image)
    # What a node has already proves nothing of what it may pull.
    container["imagePullPolicy"] = "Always"
    return manifest


def _followed(
    cluster: Cluster, name: str, clock: Callable[[], float], sleep: Callable[[float], None]
) -> tuple[Sight, str]:
    """How it looks once it ended, or will not; and its pod."""
    begun = since = clock()
    key = ""
    while True:
        pods = [
            p for page in cluster.pages(PODS, {"labelSelector": f"job-name={name}"}) for p in page.get("items") or ()
        ]
        sight = look(cluster.get(JOBS, name), pods, _events(cluster, name), unscheduled=PATIENCE)
        if sight.key != key:
            key, since = sight.key, clock()
        borne = sight.patience is not None and clock() - since >= sight.patience
        tried = sight.outcome is not None and sight.outcome.code in _PULLED
        if sight.stage == "ended" or borne or tried or clock() - begun >= PATIENCE:
            return sight, str(pods[-1]["metadata"]["name"]) if pods else ""
        sleep(_LOOK)


def _events(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    """What is said of the Job and its pods, the latest last."""
    found = [
        e
        for page in cluster.pages(_EVENTS, {})
        for e in page.get("items") or ()
        if str((e.get("involvedObject") or {}).get("name")).startswith(name)
    ]
    return sorted(found, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))


def _log(cluster: Cluster, pod: str) -> str:
    try:
        path = f"{cluster.path(PODS, pod)}/log"
        return cluster.text(path, {"limitBytes": "65536"}, 30.0).decode(errors="replace").strip()
    except (ApiError, OSError):
        return ""
