"""The pod of a container task: three containers, one after the other, of which the middle one is the task's own.

Kubernetes runs init containers to their ends, in their order. So ``inputs`` (our image) brings the inputs into an empty
volume, ``primary`` (the task's image, whatever is in it) runs, and only when that ended well ``outputs`` (our image)
begins, which takes over what is in another volume. Nobody watches another's processes, and nothing of ours has to be
in the task's image. Flyte's backend has a second container beside the task's that waits for its end.

The task's own container has no token of the run's, and no credentials of its storage.

A pod template's init containers come before all three, and its other containers run from the inputs to the outputs: as
init containers that Kubernetes runs beside what follows, and ends with the pod. Pure.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from flyteidl2.core import tasks_pb2
from flyteidl2.task import common_pb2

from ...kernel.values import dataclass, field
from ..action import LaunchRequest
from ..pods.raw_files import places, rendered, values_of
from ..template import loading_of
from .errors import Unplaceable

__all__ = ["CARRY", "Carried", "Carrier", "staged"]

CARRY = "CARRY_REQUEST"
"""The variable that tells a carrier what to do."""
INPUTS, OUTPUTS = "inputs", "outputs"
_PYTHON = "/opt/venv/bin/python"
_VOLUME = "flyte-build-"
# Of whoever ran in the task's container it reads every file, and nothing else is granted to it.
_MAY = {
    "runAsUser": 0,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]},
}
_RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}


@dataclass(frozen=True, slots=True)
class Carrier:
    """What brings and takes over files: ``image`` (that of drivers, by digest), and the ``storage`` it does that with,
    with the object store's ``options``, ``env`` and ``secret`` (a Secret's name)."""

    image: str
    storage: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Carried:
    """An attempt's own part of it: its ``inputs``, by their ``key`` in the storage; the key of its ``attempt`` folder
    and that of its files, ``data``."""

    inputs: common_pb2.Inputs = field(default_factory=common_pb2.Inputs)
    key: str = ""
    attempt: str = ""
    data: str = ""


def staged(
    pod: dict[str, Any],
    main: dict[str, Any],
    request: LaunchRequest,
    task: tasks_pb2.TaskTemplate,
    carrier: Carrier,
    carried: Carried,
) -> None:
    """Make ``pod`` that of the container task ``task``, whose own container is ``main``.

    Raises :class:`~.errors.Unplaceable` for an input that is no file and no text, and for a template with containers
    that are called as ours.
    """
    said = loading_of(task) or tasks_pb2.DataLoadingConfig()
    inside = places(said)
    values = values_of(carried.inputs, said, request.task)
    first = list(pod.get("initContainers") or ())
    beside = [{**c, "restartPolicy": "Always"} for c in pod["containers"] if c is not main]
    for container in (*first, *beside, main):
        if container["name"] in (INPUTS, OUTPUTS):
            raise Unplaceable(
                f"the pod template of {request.task} has a container called {container['name']}, which is that of a "
                f"container task's {container['name']}",
                hint="give the template's container another name",
            )
    volumes = [f"{_VOLUME}{INPUTS}", f"{_VOLUME}{OUTPUTS}"]
    pod.setdefault("volumes", []).extend({"name": name, "emptyDir": {}} for name in volumes)
    mounts = [{"name": name, "mountPath": path} for name, path in zip(volumes, inside, strict=True)]
    # ``$(NAME)`` in an argument would be a variable to Kubernetes.
    main["args"] = [word.replace("$(", "$$(") for word in rendered(request.args, values)]
    main["volumeMounts"] = [*(main.get("volumeMounts") or ()), {**mounts[0], "readOnly": True}, mounts[1]]
    told = {
        "storage": carrier.storage, "options": dict(carrier.options), "task": request.task,
        "inputs": carried.key, "attempt": carried.attempt, "data": carried.data, "template": _small(task),
    }  # fmt: skip
    pod["initContainers"] = [*first, _carry(INPUTS, carrier, told, mounts[0]), *beside, main]
    pod["containers"] = [_carry(OUTPUTS, carrier, told, {**mounts[1], "readOnly": True})]


def _small(task: tasks_pb2.TaskTemplate) -> str:
    """What there is to know of the task, as text."""
    known = tasks_pb2.TaskTemplate()
    known.interface.outputs.CopyFrom(task.interface.outputs)
    known.container.data_config.CopyFrom(loading_of(task) or tasks_pb2.DataLoadingConfig())
    return base64.b64encode(known.SerializeToString(deterministic=True)).decode()


def _carry(what: str, carrier: Carrier, told: Mapping[str, Any], mount: Mapping[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": what,
        "image": carrier.image,
        "command": [_PYTHON, "-I", "-m", "flyte_build.submit.kubernetes.carrying", what],
        "env": [
            {"name": CARRY, "value": json.dumps(told, sort_keys=True)},
            *({"name": name, "value": value} for name, value in carrier.env.items()),
        ],
        "resources": _RESOURCES,
        "securityContext": _MAY,
        "volumeMounts": [mount],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if carrier.secret:
        container["envFrom"] = [{"secretRef": {"name": carrier.secret}}]
    return container
