"""A task's pod as this machine can be it: read off its description, with a line for each kind of thing that is not.

Everything that a pod or a container may ask for is in a table below, so that nothing is dropped in silence: what is in
neither half of a table is said by its own name. Runs nothing.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from flyteidl2.core import tasks_pb2

from ...kernel.values import dataclass
from ..action import LaunchRequest
from ..kubernetes.errors import Unplaceable
from ..kubernetes.names import DNS_LABEL, job_name, label_value
from ..sandbox.spec import GID, UID
from ..scheduler import machine
from ..specs import parsed
from .facts import PodFacts
from .given import Given

__all__ = ["Container", "Pod", "read_pod"]

# What is done, or means nothing anywhere once images are pinned and here.
_POD = frozenset((
    "containers", "initContainers", "volumes", "securityContext", "serviceAccountName", "serviceAccount",
    "restartPolicy", "enableServiceLinks", "imagePullSecrets",
))  # fmt: skip
_CONTAINER = frozenset((
    "name", "image", "command", "args", "env", "envFrom", "workingDir", "volumeMounts", "resources", "securityContext",
    "ports", "imagePullPolicy", "restartPolicy", "terminationMessagePath", "terminationMessagePolicy",
))  # fmt: skip
# No process gains rights in a sandbox, and its root is read-only, whoever asks.
_SECURITY = frozenset((
    "runAsUser", "runAsGroup", "runAsNonRoot", "allowPrivilegeEscalation", "readOnlyRootFilesystem",
))  # fmt: skip
_MOUNT = frozenset(("name", "mountPath", "readOnly", "subPath", "subPathExpr"))
_RESOURCES = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True, slots=True)
class Container:
    """One container: its specification, and who runs in it. ``stays``: an init container that runs beside the rest."""

    name: str
    spec: Mapping[str, Any]
    uid: int = UID
    gid: int = GID
    stays: bool = False

    @property
    def ports(self) -> tuple[int, ...]:
        """The TCP ports that it says it listens on."""
        rows = self.spec.get("ports") or ()
        return tuple(int(r["containerPort"]) for r in rows if r.get("protocol", "TCP") == "TCP")


@dataclass(frozen=True, slots=True)
class Pod:
    """``before`` run one after the other (but for those that stay), then ``primary`` with ``beside``."""

    spec: Mapping[str, Any]
    facts: PodFacts
    primary: Container
    before: tuple[Container, ...] = ()
    beside: tuple[Container, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether all there is to it are the primary container's variables: it can be a fork as any task."""
        told = self.primary.spec
        own = self.primary.uid, self.primary.gid
        more = any(told.get(key) for key in ("volumeMounts", "workingDir", "command"))
        return not (self.before or self.beside or more) and own == (UID, GID)


def read_pod(request: LaunchRequest, given: Given, say: Callable[[str], object]) -> Pod | None:
    """The pod of ``request``; ``None`` where its task says nothing of one. Raises :class:`Unplaceable`."""
    task = parsed(request.task_spec).task_template
    named = task.metadata.pod_template_name
    if not task.HasField("k8s_pod") and not named:
        return None
    from ..kubernetes.pod import pod_of, upon

    metadata, spec, primary = pod_of(task)
    if named:
        template = given.shelf.templates.get(named)
        if template is None:
            raise Unplaceable(
                f"{request.task} names the pod template {named}, which is not here",
                hint=given.shelf.where("PodTemplate", named),
            )
        metadata, spec = upon(template, metadata, spec, primary)
    _say_rest(spec, primary, say)
    user = spec.get("securityContext") or {}
    containers = [_container(c, user) for c in spec["containers"]]
    inits = [_container(c, user) for c in spec.get("initContainers") or ()]
    own = next(c for c in containers if c.name == primary)
    if named and (image := own.spec.get("image")) and not task.HasField("k8s_pod"):
        raise Unplaceable(
            f"the pod template {named} runs `{image}` instead of the image of {request.task}",
            hint="leave the image out of its primary container",
        )
    facts = _facts(request, task, metadata, spec)
    return Pod(spec, facts, own, tuple(inits), tuple(c for c in containers if c.name != primary))


def _container(spec: Mapping[str, Any], pod: Mapping[str, Any]) -> Container:
    if not DNS_LABEL.fullmatch(str(spec.get("name"))):
        raise Unplaceable(f"a pod template calls a container {spec.get('name')!r}, expected a DNS label")
    told = {**pod, **(spec.get("securityContext") or {})}
    try:
        uid, gid = int(told.get("runAsUser", UID)), int(told.get("runAsGroup", GID))
    except (TypeError, ValueError):
        raise Unplaceable(
            f"container {spec.get('name')} of a pod template: runAsUser and runAsGroup are numbers"
        ) from None
    if told.get("runAsNonRoot") and uid == 0:
        raise Unplaceable(f"container {spec.get('name')} of a pod template: runAsNonRoot, and runAsUser is 0")
    return Container(str(spec.get("name")), spec, uid, gid, spec.get("restartPolicy") == "Always")


def _facts(
    request: LaunchRequest, task: tasks_pb2.TaskTemplate, metadata: Mapping[str, Any], spec: Mapping[str, Any]
) -> PodFacts:
    name = job_name(request.run, request.action, request.attempt)
    cores, memory = machine()
    namespace = "-".join(p for p in (task.id.project, task.id.domain) if p)
    own = {
        "run": label_value(request.run),
        "action": label_value(request.action),
        "attempt": str(request.attempt),
        "task-name": label_value(request.task),
    }
    everyone = [*(spec.get("initContainers") or ()), *spec["containers"]]
    return PodFacts(
        name=name,
        namespace=namespace or "default",
        uid=str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        labels={**metadata.get("labels", {}), **own},
        annotations=dict(metadata.get("annotations", {})),
        node=socket.gethostname(),
        account=str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"),
        resources={str(c.get("name")): _both(c.get("resources") or {}) for c in everyone},
        machine={"cpu": Decimal(str(cores)), "memory": Decimal(memory)},
    )


def _both(asked: Mapping[str, Any]) -> dict[str, Any]:
    """As Flyte's backend has it: a request without a limit is its own limit, and the other way round."""
    limits, requests = (asked.get(kind) or {} for kind in ("limits", "requests"))
    return {"limits": {**requests, **limits}, "requests": {**limits, **requests}}


def _say_rest(spec: Mapping[str, Any], primary: str, say: Callable[[str], object]) -> None:
    """A line for each kind of thing that has no meaning here."""
    found = dict.fromkeys(key for key, value in spec.items() if key not in _POD and value not in (None, {}, [], False))
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        found |= dict.fromkeys(
            k for k, v in container.items() if k not in _CONTAINER and v not in (None, {}, [], False)
        )
        found |= dict.fromkeys(k for m in container.get("volumeMounts") or () for k in m if k not in _MOUNT)
        asked = container.get("resources") or {}
        kinds = {k for table in ("limits", "requests") for k in asked.get(table) or {} if k not in _RESOURCES}
        if container.get("name") == primary:
            # Accelerators of the task itself are what the launcher speaks of.
            kinds = {k for k in kinds if "gpu" not in k and not k.startswith(("nvidia.com/", "google.com/tpu"))}
        found |= dict.fromkeys(f"the resource {k}" for k in sorted(kinds))
        found |= _of_security(container.get("securityContext") or {})
    found |= _of_security(spec.get("securityContext") or {})
    for kind in found:
        say(f"pod templates: {kind} has no meaning here")


def _of_security(told: Mapping[str, Any]) -> dict[str, None]:
    return dict.fromkeys(
        f"securityContext.{k}" for k, v in told.items() if k not in _SECURITY and v not in (None, {}, [], False)
    )
