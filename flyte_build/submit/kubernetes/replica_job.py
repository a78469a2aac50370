"""The Job of a replica: that of the attempt it is first needed for, with what is an action's own taken out.

Image, template, resources, secrets, account, queue and node are the environment's, so they stay; arguments, names and
the timeout are an action's. Environments whose tasks ask for different pods have replicas of each kind. Pure.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from ..control.addressing import AS
from ..warm.told import ACTIONS, PLACE
from .pod import COMPONENT

__all__ = ["REPLICA", "main_of", "named", "replica_job"]

REPLICA = f"{COMPONENT}=replica"
"""The label that a replica's Job and pod have, as a selector."""

_VOLUME = "flyte-build-replica"
_OF_AN_ACTION = ("action", "attempt", "task-name")


def replica_job(manifest: Mapping[str, Any], container: str, program: str) -> dict[str, Any] | None:
    """``manifest`` (an attempt's, whose own container is called ``container``) as a replica's, still without a name.

    ``program`` is the Secret that has its program. ``None`` where the template has a command of its own: it may be
    anything.
    """
    job = copy.deepcopy(dict(manifest))
    template = job["spec"]["template"]
    pod = template["spec"]
    main = next(c for c in pod["containers"] if c["name"] == container)
    if main.get("command"):
        return None
    del job["metadata"]["name"]
    for labels in (job["metadata"]["labels"], template["metadata"]["labels"]):
        for label in _OF_AN_ACTION:
            labels.pop(label, None)
        labels[COMPONENT] = REPLICA.partition("=")[2]
    pod.pop("activeDeadlineSeconds", None)
    pod.setdefault("volumes", []).append({"name": _VOLUME, "secret": {"secretName": program, "defaultMode": 0o444}})
    main.setdefault("volumeMounts", []).append({"name": _VOLUME, "mountPath": PLACE, "readOnly": True})
    # By name: where a Python is in an image is the image's affair, and it looks for the one of `a0` itself.
    main["command"] = ["python3", "-I", "-S", f"{PLACE}/becoming.py"]
    main["args"] = []
    main["env"] = [_anybodys(v) for v in main["env"] if v["name"] not in ACTIONS]
    return job


def _anybodys(variable: dict[str, Any]) -> dict[str, Any]:
    """The service's address without the action that asks: none of those in one process can be told from another."""
    if variable["name"] != "_U_EP_OVERRIDE":
        return variable
    return {"name": variable["name"], "value": variable["value"].partition(f"/{AS}/")[0]}


def named(job: Mapping[str, Any], container: str, name: str) -> dict[str, Any]:
    """``job`` (of :func:`replica_job`, the same container) as the replica ``name``."""
    own = copy.deepcopy(dict(job))
    own["metadata"]["name"] = name
    main = next(c for c in own["spec"]["template"]["spec"]["containers"] if c["name"] == container)
    main["args"] = [json.dumps({"program": "replica", "name": name})]
    return own


def main_of(manifest: Mapping[str, Any], image: str) -> dict[str, Any]:
    """The container of a Job that is on ``image``: the attempt's own."""
    containers: list[dict[str, Any]] = manifest["spec"]["template"]["spec"]["containers"]
    return next(c for c in containers if c.get("image") == image)
