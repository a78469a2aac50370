"""The images of other containers than a task's own, as its pod template has them. Never asks a registry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .nouns import Task

__all__ = ["sidecars"]


def sidecars(tasks: Iterable[Task]) -> dict[str, str]:
    """Each image that is named by no digest, as it is written, and who takes it (``env.task: container NAME``).

    Templates that are only named lie in a cluster, and are looked at there.
    """
    found: dict[str, str] = {}
    for task in tasks:
        template: Any = getattr(task.template, "pod_template", None)
        spec = getattr(template, "pod_spec", None)
        primary = getattr(template, "primary_container_name", None)
        for group in ("init_containers", "containers"):
            listed = getattr(spec, group, None)
            for container in listed if isinstance(listed, list) else ():
                image = getattr(container, "image", None)
                if isinstance(image, str) and "@" not in image and container.name != primary:
                    found.setdefault(image, f"{task.full_name}: container {container.name}")
    return found
