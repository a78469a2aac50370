"""Everything that a task's description can ask for, and what becomes of it: so that nothing is dropped in silence.

Each field of the messages that flyte's SDK writes is here. A test holds the table against the messages themselves, so
that a field which a later SDK adds is answered before any run ignores it. What no pod here gives is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from flyteidl2.core import tasks_pb2

from .errors import Unplaceable

__all__ = ["ASKS", "Refused", "refuse"]

What = Literal["pod", "run", "none"]
"""``pod``: it is in the Job or its pod; ``run``: the engine does it; ``none``: it says nothing of how a task runs."""


class Refused(str):
    """Why it is refused, as the end of a sentence that begins with the task's name."""


_PLUGIN = Refused("is a task of a plug-in, which a Flyte backend runs")
ASKS: Mapping[str, Mapping[str, What | Refused]] = {
    "TaskTemplate": {
        "id": "run", "type": "none", "metadata": "run", "interface": "run", "custom": _PLUGIN, "container": "pod",
        "k8s_pod": "pod", "sql": Refused("is a query, which a Flyte backend runs"), "task_type_version": "none",
        "security_context": "pod", "extended_resources": "pod", "config": "pod", "reuse_policy": "run",
        "worker_kind": Refused("asks for a worker, which a Flyte backend has"),
    },
    "TaskMetadata": {
        "discoverable": "run", "runtime": "none", "timeout": "pod", "retries": "run", "discovery_version": "run",
        "deprecated_error_message": "none", "interruptible": "pod", "cache_serializable": "run", "tags": "none",
        "pod_template_name": "pod", "cache_ignore_input_vars": "run", "is_eager": "none", "generates_deck": "run",
        "metadata": "none", "debuggable": "none", "log_links": "none", "image_build_run": "none",
        "is_entrypoint": "none", "code_bundle_uri": "run", "timeouts": "run", "produces_artifacts": "none",
        "cache_max_age": "run",
    },
    "Container": {
        "image": "pod", "command": "pod", "args": "pod", "resources": "pod", "env": "pod",
        "config": Refused("has a container's `config`, which is a plug-in's"),
        "ports": Refused("opens ports, which a Flyte backend does"),
        "data_config": "pod",
        "architecture": Refused("asks for an architecture, which its image says"),
    },
    "K8sPod": {
        "metadata": "pod", "pod_spec": "pod", "primary_container_name": "pod",
        "data_config": "pod",
    },
    "K8sObjectMetadata": {"labels": "pod", "annotations": "pod"},
    "ExtendedResources": {"gpu_accelerator": "pod", "shared_memory": "pod"},
    "GPUAccelerator": {
        "device": "pod", "unpartitioned": "pod", "partition_size": "pod", "device_class": "pod",
        "accelerator_model": "none",
    },
    "SharedMemory": {"mount_path": "pod", "mount_name": "pod", "size_limit": "pod"},
    "SecurityContext": {
        "run_as": "pod", "secrets": "pod", "tokens": Refused("asks for OAuth2 tokens, which a Flyte backend gets"),
    },
    "Identity": {
        "iam_role": Refused("asks for an IAM role: give it to the service account"), "k8s_service_account": "pod",
        "oauth2_client": Refused("asks for an OAuth2 client, which a Flyte backend has"), "execution_identity": "none",
    },
    "Secret": {"group": "pod", "group_version": "none", "key": "pod", "mount_requirement": "pod", "env_var": "pod"},
}  # fmt: skip


def refuse(task: tasks_pb2.TaskTemplate) -> None:
    """Raise :class:`Unplaceable` for the first thing that no pod here gives."""
    for message in _messages(task):
        known = ASKS[message.DESCRIPTOR.name]
        for field, _ in message.ListFields():
            what = known.get(field.name)
            if field.name == "custom" and task.HasField("reuse_policy"):
                continue  # the same once more, for older backends
            if field.name == "custom" and task.type == "clustered-task":
                continue  # how many pods it has (see ``gangs``)
            if isinstance(what, Refused):
                raise Unplaceable(f"{task.id.name} {what}", hint="`flyte run` submits it to a Flyte backend")


def _messages(task: tasks_pb2.TaskTemplate) -> Iterator[Any]:
    yield task
    yield task.metadata
    if task.HasField("container"):
        yield task.container
    if task.HasField("k8s_pod"):
        yield task.k8s_pod
        yield task.k8s_pod.metadata
    yield task.extended_resources
    yield task.extended_resources.gpu_accelerator
    yield task.extended_resources.shared_memory
    yield task.security_context
    yield task.security_context.run_as
    yield from task.security_context.secrets
