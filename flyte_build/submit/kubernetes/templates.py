"""Pod templates that tasks only name: looked up in the namespace, before anything runs and for each attempt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..specs import parsed
from .api import Cluster
from .errors import Unplaceable

__all__ = ["named_template", "template_called", "template_name"]

_TEMPLATES = "v1/podtemplates"


def template_name(task_spec: bytes) -> str:
    """The PodTemplate that a task names; empty where it names none."""
    return str(parsed(task_spec).task_template.metadata.pod_template_name)


def named_template(cluster: Cluster, task: str, task_spec: bytes) -> Mapping[str, Any] | None:
    """The ``template`` of the PodTemplate that ``task`` names; ``None`` where it names none.

    Raises :class:`Unplaceable` for one that the namespace has not, and :class:`ApiError`.
    """
    name = template_name(task_spec)
    return template_called(cluster, task, name) if name else None


def template_called(cluster: Cluster, task: str, name: str) -> Mapping[str, Any]:
    """The ``template`` of the PodTemplate ``name``, which ``task`` names. Raises as :func:`named_template`."""
    found = cluster.get(_TEMPLATES, name)
    if found is None:
        raise Unplaceable(
            f"{task} names the pod template {name}, which namespace {cluster.namespace} has not",
            hint=f"`kubectl -n {cluster.namespace} get podtemplates` shows what it has",
        )
    template: Mapping[str, Any] = found.get("template") or {}
    return template
