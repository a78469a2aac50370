"""The Job of one attempt, as a plain dict: what Flyte's own backend makes of the same task, on an image by digest.

A pod template is merged whole: what the SDK put into it (image, arguments, resources, variables) and what is added here
(accelerator, shared memory, secrets, deadline, labels) never takes the place of what the user wrote, but for what a run
is made of. Pure: it asks no cluster, so what a target cannot give is found by whoever looks before (see ``profiles``).
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from flyteidl2.core import tasks_pb2
from google.protobuf.json_format import MessageToDict

from ...kernel.values import dataclass, field
from ..action import LaunchRequest
from ..pods.raw_files import check_raw
from ..specs import KEPT, parsed
from .asks import refuse
from .container_task import Carried, Carrier, staged
from .errors import Unplaceable
from .names import DNS_LABEL, MAIN, job_name, label_value
from .needs import NOTHING, Needs, require
from .profiles import Profile, Toleration
from .resources import Asked, accelerator, asked_of, balanced, within
from .secrets import mount_secrets
from .sight import PRIMARY
from .vendors import PROFILES

__all__ = ["COMPONENT", "DRIVER", "MANAGED_BY", "PRIMARY", "QUEUE", "SIDECARS", "Place", "job"]

SIDECARS = "_FLYTE_BUILD_SIDECARS"
"""The variable of a run that says what other containers' images are, as JSON; no pod gets it."""
MANAGED_BY, COMPONENT = "app.kubernetes.io/managed-by", "app.kubernetes.io/component"
DRIVER = "driver"
"""The component that a run's driver is, by its label; attempts have none."""
QUEUE = "kueue.x-k8s.io/queue-name"
_KEEP = "cluster-autoscaler.kubernetes.io/safe-to-evict"
_GONE_AFTER = 24 * 3600
_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")
_DEFAULTS = {"cpu": "1", "memory": "1Gi"}


@dataclass(frozen=True, slots=True)
class Place:
    """What is the same for every pod of a target.

    ``defaults`` are quantities for what a task says nothing of, ``quotas`` the most that one attempt may ask for, by
    Kubernetes' names; ``secrets`` the name of the Secret that holds what has
    no group, ``owner`` an owner reference (the run's driver: what it owns goes with it), ``labels`` and ``annotations``
    more of each. ``api_access``: pods get the service account's token. ``storage_secret`` is the Secret whose keys are
    variables of every pod.
    """

    namespace: str
    profile: Profile = field(default_factory=lambda: PROFILES["eks"])
    service_account: str = ""
    pull_secrets: tuple[str, ...] = ()
    queue: str = ""
    secrets: str = "flyte-secrets"
    defaults: Mapping[str, str] = field(default_factory=lambda: _DEFAULTS)
    quotas: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owner: Mapping[str, Any] | None = None
    api_access: bool = False
    storage_secret: str = ""
    keep_seconds: int = _GONE_AFTER


def job(
    request: LaunchRequest,
    image: str,
    place: Place,
    *,
    template: Mapping[str, Any] | None = None,
    needs: Needs = NOTHING,
    carrier: Carrier | None = None,
    carried: Carried | None = None,
) -> dict[str, Any]:
    """The ``batch/v1`` Job of ``request`` on ``image`` (a reference by digest).

    The task's own queue wins over the target's. ``template`` is the ``spec.template`` that a named PodTemplate of the
    cluster holds, ``needs`` is what the image needs of a node. Of a container task ``carrier`` brings
    what is ``carried``. Raises :class:`Unplaceable` for what no pod here can be.
    """
    task = parsed(request.task_spec).task_template
    if not _DIGEST.fullmatch(image):
        raise Unplaceable(f"expected the image of {request.task} by digest, found {image}")
    metadata, pod, name = json.loads(_told(request.task_spec))
    if template is not None:
        metadata, pod = upon(template, metadata, pod, name)
    raw = check_raw(task, request.task)
    if raw and carrier is None:
        raise Unplaceable(f"{request.task} is a container task, and this run has no image that brings its inputs")
    _only_digests(pod, name, request)
    main = next(c for c in pod["containers"] if c["name"] == name)
    main |= {"image": image, "args": list(request.args), "terminationMessagePolicy": "FallbackToLogsOnError"}
    main["env"] = _variables(main.get("env") or [], {k: v for k, v in request.env.items() if k != SIDECARS})
    if place.storage_secret and not raw:
        main.setdefault("envFrom", []).append({"secretRef": {"name": place.storage_secret}})
    _resources(task, main, pod, place)
    within(pod, place.quotas, request.task)
    _shared_memory(task.extended_resources, main, pod)
    mount_secrets(request.secrets, main, pod, place.secrets)
    _scheduling(task, pod, place)
    require(needs, pod, place.profile)
    pod |= {"restartPolicy": "Never", "enableServiceLinks": False}
    pod.setdefault("automountServiceAccountToken", place.api_access)
    if request.timeout is not None:
        # Of the pod and not of the Job, whose own would take the pod and its log away.
        pod["activeDeadlineSeconds"] = max(1, math.ceil(request.timeout))
    if raw and carrier is not None:
        staged(pod, main, request, task, carrier, carried or Carried())
    queue = _queued(request, place, metadata.get("labels", {}))
    labels = {
        **place.labels,
        "run": label_value(request.run),
        "action": label_value(request.action),
        "attempt": str(request.attempt),
        "task-name": label_value(request.task),
        MANAGED_BY: "flyte-build",
    }
    metadata["labels"] = {**metadata.get("labels", {}), **labels}
    own = {MAIN: name} if len([*pod["containers"], *(pod.get("initContainers") or ())]) > 1 else {}
    metadata["annotations"] = {_KEEP: "false", **own, **place.annotations, **metadata.get("annotations", {})}
    named: dict[str, Any] = {
        "name": job_name(request.run, request.action, request.attempt),
        "namespace": place.namespace,
        "labels": {**labels, **queue},
    }
    if place.owner is not None:
        named["ownerReferences"] = [dict(place.owner)]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": named,
        "spec": {
            # Another try is the engine's to make, also of a pod that was evicted or lost with its node: in a folder of
            # its own. Kubernetes would give it the old one, and that only once a lost node is back.
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": place.keep_seconds,
            "template": {"metadata": metadata, "spec": pod},
        },
    }


def _queued(request: LaunchRequest, place: Place, told: dict[str, str]) -> dict[str, str]:
    """Kueue's label, where there is a queue: the task's, or that of its pod template, whose labels are ``told``. There
    it would be the pod's own, which is no part of its Job to Kueue."""
    queue = told.pop(QUEUE, "")
    queue = request.queue or queue or place.queue
    if queue and not DNS_LABEL.fullmatch(queue):
        raise Unplaceable(
            f"{request.task} is for queue {queue!r}, which can be no queue of a cluster",
            hint="a queue of Kueue is called by lower case letters, digits and `-`, at most 63",
        )
    return {QUEUE: queue} if queue else {}


@lru_cache(KEPT)
def _told(task_spec: bytes) -> str:
    """As JSON, which each attempt reads anew and changes."""
    task = parsed(task_spec).task_template
    refuse(task)
    return json.dumps(pod_of(task))


def pod_of(task: tasks_pb2.TaskTemplate) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Metadata, pod spec and the primary container's name of a template of either kind."""
    if not task.HasField("k8s_pod"):
        asked = asked_of(task.container.resources)
        main = {
            "name": PRIMARY,
            "env": [{"name": e.key, "value": e.value} for e in task.container.env],
            "resources": {"requests": dict(asked.requests), "limits": dict(asked.limits)},
        }
        if task.container.command:
            main["command"] = list(task.container.command)
        return {}, {"containers": [main]}, PRIMARY
    name = task.k8s_pod.primary_container_name or task.config.get("primary_container_name", "") or PRIMARY
    pod: dict[str, Any] = _whole_numbers(MessageToDict(task.k8s_pod.pod_spec))
    if all(c.get("name") != name for c in pod.get("containers") or ()):
        raise Unplaceable(f"the pod template has no container {name}, which it says is its primary one")
    told = task.k8s_pod.metadata
    metadata = {"labels": dict(told.labels), "annotations": dict(told.annotations)}
    return {k: v for k, v in metadata.items() if v}, pod, name


def _whole_numbers(value: Any) -> Any:
    """A protobuf Struct has no whole numbers; Kubernetes takes no others for ports, ids and seconds."""
    if isinstance(value, dict):
        return {k: _whole_numbers(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def upon(
    template: Mapping[str, Any], metadata: dict[str, Any], pod: dict[str, Any], name: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The task's pod upon a named template's: the task's word wins, lists are joined.

    A container of the template that is called ``default`` says what every container lacks, ``primary`` what the
    primary one does (Flyte's rule for named templates); others are there besides.
    """
    below: dict[str, Any] = copy.deepcopy(dict(template.get("spec") or {}))
    spares = {c["name"]: c for c in below.pop("containers", None) or ()}
    merged = _merged(below, {k: v for k, v in pod.items() if k != "containers"})
    containers = []
    for container in pod["containers"]:
        spare: dict[str, Any] = dict(spares.get("default", {}))
        own = PRIMARY if container["name"] == name and container["name"] not in spares else container["name"]
        spare = _merged(spare, spares.get(own, {}))
        containers.append(_merged(spare, container))
    known = {c["name"] for c in containers} | {"default", PRIMARY}
    merged["containers"] = [*containers, *(c for n, c in spares.items() if n not in known)]
    said = template.get("metadata") or {}
    both = {k: {**(said.get(k) or {}), **metadata.get(k, {})} for k in ("labels", "annotations")}
    return {k: v for k, v in both.items() if v}, merged


def _merged(below: Any, above: Any) -> Any:
    """Objects key by key, lists of named things by name and other lists joined; for anything else ``above``."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {
            k: _merged(below[k], above[k]) if k in below and k in above else above.get(k, below.get(k))
            for k in (*below, *(k for k in above if k not in below))
        }
    if isinstance(below, list) and isinstance(above, list):
        names = {row["name"] for row in above if isinstance(row, dict) and "name" in row}
        return [*(row for row in below if not (isinstance(row, dict) and row.get("name") in names)), *above]
    return above


def _only_digests(pod: Mapping[str, Any], name: str, request: LaunchRequest) -> None:
    """Every other container's image by digest: as the lock pins it, or as the template has it."""
    task, pins = request.task, json.loads(request.env.get(SIDECARS, "{}"))
    for container in (*(pod.get("initContainers") or ()), *pod["containers"]):
        image = container.get("image", "")
        if container.get("name") != name and image in pins:
            container["image"] = image = pins[image]
        if container.get("name") != name and not _DIGEST.fullmatch(image):
            raise Unplaceable(
                f"the pod template of {task} takes container {container.get('name')} from {image or 'no image'}, "
                "expected one by digest",
                hint="`flyte-build lock` pins those of templates in the code; in a cluster's own, write NAME@sha256:…: "
                "a tag may be another image tomorrow, and a missing one holds a GPU",
            )


def _variables(have: list[dict[str, Any]], more: Mapping[str, str]) -> list[dict[str, Any]]:
    """A run's own variables win: a runtime that is told of another run reports to it."""
    return [*(v for v in have if v.get("name") not in more), *({"name": k, "value": v} for k, v in more.items())]


def _resources(task: tasks_pb2.TaskTemplate, main: dict[str, Any], pod: dict[str, Any], place: Place) -> None:
    """The primary container's resources, and where its accelerator is."""
    given = main.get("resources") or {}
    asked = Asked(*({k: _text(v) for k, v in (given.get(kind) or {}).items()} for kind in ("requests", "limits")))
    wanted = accelerator(asked, task.extended_resources)
    if wanted is not None:
        placement = place.profile.place(wanted)
        if not asked.accelerators:
            asked = Asked(asked.requests, {**asked.limits, placement.resource: str(placement.count)})
        asked = asked.named(placement.resource)
        _require(pod, placement.expressions)
        _tolerate(pod, placement.tolerations)
    main["resources"] = {**given, **balanced(asked, place.defaults)}


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _require(pod: dict[str, Any], expressions: list[dict[str, Any]]) -> None:
    """Every term of the node affinity has to say it: terms are alternatives, and its expressions hold together."""
    if not expressions:
        return
    affinity = pod.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    required = affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = required.setdefault("nodeSelectorTerms", []) or [{}]
    for term in terms:
        term["matchExpressions"] = [*(term.get("matchExpressions") or ()), *expressions]
    required["nodeSelectorTerms"] = terms


def _tolerate(pod: dict[str, Any], tolerations: tuple[Toleration, ...]) -> None:
    have = pod.setdefault("tolerations", [])
    have += [t for toleration in tolerations if (t := toleration.to_dict()) not in have]


def _shared_memory(extended: tasks_pb2.ExtendedResources, main: dict[str, Any], pod: dict[str, Any]) -> None:
    """``/dev/shm`` of the size asked for, or of what the pod's memory is where none is ("auto")."""
    if not extended.HasField("shared_memory"):
        return
    told = extended.shared_memory
    medium = {"medium": "Memory", **({"sizeLimit": told.size_limit} if told.size_limit else {})}
    name, path = told.mount_name or "flyte-shm", told.mount_path or "/dev/shm"
    if all(m.get("mountPath") != path for m in main.get("volumeMounts") or ()):
        pod.setdefault("volumes", []).append({"name": name, "emptyDir": medium})
        main.setdefault("volumeMounts", []).append({"name": name, "mountPath": path})


def _scheduling(task: tasks_pb2.TaskTemplate, pod: dict[str, Any], place: Place) -> None:
    account = task.security_context.run_as.k8s_service_account or place.service_account
    if account:
        pod.setdefault("serviceAccountName", account)
    if place.pull_secrets:
        have = pod.setdefault("imagePullSecrets", [])
        have += [{"name": n} for n in place.pull_secrets if {"name": n} not in have]
    if task.metadata.interruptible:
        _tolerate(pod, place.profile.spot)
