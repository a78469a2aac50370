"""Reading and completing flyte's ``TaskSpec``: the only module that knows where in the protobuf things are.

A task's container is either the template's own or the primary one of a pod template. Completion is what Flyte's backend
does before it makes a pod: the placeholders ``{{.…}}`` are filled in, the environment of the runtime contract is
added. Pure: no files, no processes.
"""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

from flyteidl2.core import security_pb2, tasks_pb2
from flyteidl2.task import task_definition_pb2
from google.protobuf.json_format import MessageToDict

from ..kernel.values import dataclass, replace
from .action import Resources, ReusePolicy, SecretRef
from .amounts import quantity
from .asked import resources_of
from .specs import KEPT, parsed, serialized

__all__ = [
    "CLUSTERED", "RUNTIME", "Backoff", "Task", "Unsupported", "fill", "loading_of", "not_pinned", "pin_root",
    "quantity", "read_task", "registered", "version_of", "with_code",
]  # fmt: skip

RUNTIME = "a0"
CLUSTERED = "clustered"  # its launcher in each pod of a clustered task, with its own options
_CODE, _VERSION = "--tgz", "--version"
_PRIMARY = "primary_container_name"
_CONTAINER_TASK = "raw-container"
_LONG = 86_400.0 * 30
_HOLE = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


class Unsupported(ValueError):
    """A task that the stock runtime alone does not run."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds to wait before retry N (from 0): ``base * factor ** N``, at most ``cap``."""

    base: float
    factor: float = 1.0
    cap: float | None = None

    def delay(self, retry: int) -> float:
        try:
            wait: float = self.base * self.factor**retry
        except OverflowError:
            wait = float("inf")
        return min(wait, 3600.0 if self.cap is None else self.cap)


@dataclass(frozen=True, slots=True)
class Task:
    """What running a task needs to know of its spec. Times in seconds; ``retries`` besides the first attempt;
    ``bundle`` is the URI of its code, empty where it has none besides its image's.
    """

    name: str
    environment: str
    image: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    resources: Resources
    secrets: tuple[SecretRef, ...]
    has_outputs: bool
    retries: int = 0
    backoff: Backoff | None = None
    timeout: float | None = None
    deadline: float | None = None
    queue_timeout: float | None = None
    cache_serializable: bool = False
    cache_max_age: float | None = None
    cache_version: str = ""
    bundle: str = ""
    org: str = ""
    project: str = ""
    domain: str = ""
    reuse: ReusePolicy | None = None
    short_name: str = ""
    interruptible: bool = False

    @property
    def shown(self) -> dict[str, Any]:
        """What people see of it, as a record of an action has it; its name for people where that is another one."""
        short = self.short_name if self.short_name not in (self.name, self.name.rpartition(".")[2]) else ""
        own = {"short_name": short, "interruptible": self.interruptible}
        return {"task": self.name, "environment": self.environment, **own}

    @property
    def share(self) -> Resources:
        """What one action takes of the machine: of a reused process, its part."""
        asked = self.resources
        if self.reuse is None:
            return asked
        memory = asked.memory // self.reuse.concurrency if asked.memory is not None else None
        # Devices are the process's, whoever runs in it.
        return replace(asked, cpu=(asked.cpu or 1.0) / self.reuse.concurrency, memory=memory, gpus=0)

    def render(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """The arguments with every placeholder filled in from ``values``; unknown ones stay as they are."""
        return fill(self.args, values)


def fill(args: Iterable[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """``args`` with every ``{{.name}}`` filled in from ``values``; unknown ones stay as they are."""
    return tuple(_HOLE.sub(lambda m: values.get(m[1], m[0]), arg) if "{{" in arg else arg for arg in args)


def read_task(spec: task_definition_pb2.TaskSpec, *, gangs: bool = False) -> Task:
    """Read a spec; raises :class:`Unsupported` for another runtime and, without ``gangs``, of several pods."""
    return _read(serialized(spec), gangs)


@lru_cache(KEPT)
def _read(data: bytes, gangs: bool) -> Task:
    spec = parsed(data)
    template = spec.task_template
    image, args, env, asked = _container(template)
    name = template.id.name
    runtimes = (RUNTIME, CLUSTERED) if gangs else (RUNTIME,)
    if loading_of(template) is None and (not args or args[0] not in runtimes):
        raise Unsupported(
            f"task {name} of type {template.type!r} runs `{' '.join(args[:3])}`, expected flyte's own `{RUNTIME}`: "
            "clustered tasks run on a cluster that has JobSet (`run --on`), or on a Flyte backend"
        )
    md = template.metadata
    backoff = None
    if md.retries.HasField("backoff"):
        b = md.retries.backoff
        backoff = Backoff(_seconds(b, "base") or 0.0, b.factor or 1.0, _seconds(b, "cap"))
    return Task(
        name=name,
        environment=spec.environment.name or name.rpartition(".")[0],
        image=image,
        args=tuple(args),
        env=env,
        resources=resources_of(asked, template.extended_resources),
        secrets=tuple(_secret(s) for s in template.security_context.secrets),
        has_outputs=bool(template.interface.outputs.variables),
        retries=md.retries.retries,
        backoff=backoff,
        timeout=_seconds(md, "timeout"),
        deadline=_seconds(md.timeouts, "deadline") if md.HasField("timeouts") else None,
        queue_timeout=_seconds(md.timeouts, "queued_timeout") if md.HasField("timeouts") else None,
        cache_serializable=md.cache_serializable,
        cache_max_age=_seconds(md, "cache_max_age"),
        cache_version=md.discovery_version,
        bundle=next((after for option, after in itertools.pairwise(args) if option == _CODE), ""),
        org=template.id.org,
        project=template.id.project,
        domain=template.id.domain,
        reuse=_reuse(template),
        short_name=spec.short_name,
        interruptible=md.interruptible,
    )


def loading_of(template: tasks_pb2.TaskTemplate) -> tasks_pb2.DataLoadingConfig | None:
    """How a container task's inputs and outputs are files; ``None`` for any other task.

    Of one with a pod template of its own the SDK leaves it out, and where the files are is the SDK's default.
    """
    for said in (template.container.data_config, template.k8s_pod.data_config):
        if said.enabled:
            return said
    if template.type == _CONTAINER_TASK and template.HasField("k8s_pod"):
        return tasks_pb2.DataLoadingConfig(enabled=True)
    return None


def not_pinned(task: Task) -> str:
    """What is said of a task whose image is none of the run's."""
    return (
        f"environment {task.environment} of task {task.name} has no image in this run (its task asks for "
        f"{task.image or 'none'}); expected it in the `depends_on` of the environment that the run began in"
    )


def pin_root(
    serialized: bytes, images: Mapping[str, str], environment: str, bundle: str
) -> task_definition_pb2.TaskSpec:
    """The root's spec with its image pinned, the image of every environment told to its children, and its code's URI.

    ``images`` maps environment → pinned reference. Children inherit all three through the runtime.
    """
    spec = task_definition_pb2.TaskSpec.FromString(serialized)
    template = spec.task_template
    lookup = json.dumps({"image_lookup": dict(images), "build_run_ids": {}}, sort_keys=True)
    cache = base64.b64encode(gzip.compress(lookup.encode(), mtime=0)).decode()
    template.metadata.code_bundle_uri = bundle
    return _changed(spec, {"--image-cache": cache, _CODE: bundle}, images[environment])


def version_of(spec: task_definition_pb2.TaskSpec) -> str:
    """The version that its runtime is told, which is that of its code."""
    _, args, _, _ = _container(spec.task_template)
    return _option(args, _VERSION)


def registered(
    spec: task_definition_pb2.TaskSpec, project: str, domain: str, version: str
) -> task_definition_pb2.TaskSpec:
    """``spec``, changed: a task of that name and version, which it knows itself to be."""
    identifier = spec.task_template.id
    identifier.project, identifier.domain, identifier.version = project, domain, version
    return _changed(spec, {_VERSION: version})


def with_code(spec: task_definition_pb2.TaskSpec, uri: str) -> task_definition_pb2.TaskSpec:
    """``spec``, changed: its code is at ``uri``."""
    spec.task_template.metadata.code_bundle_uri = uri
    return _changed(spec, {_CODE: uri})


def _changed(
    spec: task_definition_pb2.TaskSpec, options: Mapping[str, str], image: str = ""
) -> task_definition_pb2.TaskSpec:
    """``spec`` with other options of its runtime, and another image if there is one."""
    template = spec.task_template
    if template.HasField("k8s_pod"):
        for container in template.k8s_pod.pod_spec["containers"]:
            if container["name"] == _primary_name(template):
                container["image"] = image or container["image"]
                if loading_of(template) is None:  # else they are its container's own
                    container["args"] = _with_options(list(container["args"]), options)
    else:
        args = list(template.container.args)
        if not template.container.data_config.enabled:  # else they are its container's own
            args = _with_options(args, options)
        template.container.image = image or template.container.image
        template.container.ClearField("args")
        template.container.args.extend(args)
    return spec


def _option(args: list[str], name: str) -> str:
    return next((after for option, after in pairwise(args) if option == name), "")


def _with_options(args: list[str], options: Mapping[str, str]) -> list[str]:
    """``args`` of the runtime with each option set, before the resolver's own arguments begin."""
    for name, value in options.items():
        if name in args:
            args[args.index(name) + 1] = value
        else:
            args[1:1] = [name, value]
    return args


def _primary_name(template: tasks_pb2.TaskTemplate) -> str:
    return template.k8s_pod.primary_container_name or template.config.get(_PRIMARY, "") or "primary"


def _container(template: tasks_pb2.TaskTemplate) -> tuple[str, list[str], dict[str, str], dict[str, str]]:
    """Image, arguments, variables and what is asked for (limits win over requests, as the scheduler's floor)."""
    if template.HasField("k8s_pod"):
        pod: dict[str, Any] = MessageToDict(template.k8s_pod.pod_spec)
        containers = pod.get("containers") or [{}]
        name = _primary_name(template)
        chosen = next((c for c in containers if c.get("name") == name), containers[0])
        env = {e["name"]: e.get("value", "") for e in chosen.get("env") or () if "valueFrom" not in e}
        resources = chosen.get("resources") or {}
        asked = {k: str(v) for k, v in {**resources.get("requests", {}), **resources.get("limits", {})}.items()}
        for key in [k for k in asked if "gpu" in k or k.startswith(("nvidia.com/", "google.com/tpu"))]:
            asked["accelerator"] = f"{key}: {quantity(asked[key]).normalize():f}"
        return chosen.get("image", ""), list(chosen.get("args") or ()), env, asked
    container = template.container
    asked = {}
    for entry in (*container.resources.requests, *container.resources.limits):
        asked[tasks_pb2.Resources.ResourceName.Name(entry.name).lower()] = entry.value
    if "gpu" in asked:
        asked["accelerator"] = f"gpu: {asked['gpu']}"
    return container.image, list(container.args), {kv.key: kv.value for kv in container.env}, asked


def _reuse(template: tasks_pb2.TaskTemplate) -> ReusePolicy | None:
    """The policy, where Flyte's own description of it is: older versions have it in ``custom`` only."""
    if template.type != "actor":
        return None
    spec: dict[str, Any] = MessageToDict(template.custom).get("spec") or {}
    most = max(int(spec.get("replica_count") or 1), 1)
    return ReusePolicy(
        fewest=min(int(spec.get("min_replica_count") or 0), most),
        most=most,
        concurrency=max(int(spec.get("parallelism") or 1), 1),
        idle=_patience(spec.get("ttl_seconds")),
        scaledown=_patience(spec.get("scaledown_ttl_seconds")),
    )


def _patience(seconds: Any) -> float:
    found = float(seconds or 30.0)
    return found if 0 <= found <= _LONG else _LONG


def _secret(secret: security_pb2.Secret) -> SecretRef:
    file = secret.mount_requirement == security_pb2.Secret.FILE
    return SecretRef(secret.key, secret.group, None if file else secret.env_var or None)


def _seconds(message: Any, name: str) -> float | None:
    """A duration; ``None`` where it is not set, or where the installed flyteidl2 has no such field yet."""
    if name not in message.DESCRIPTOR.fields_by_name or not message.HasField(name):
        return None
    found = getattr(message, name)
    seconds: float = found.seconds + found.nanos / 1e9  # more than a timedelta holds, where it says so
    return seconds or None
