"""The images of other containers than a task's own, as its pod template has them. Never asks a registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .nouns import Task

__all__ = ["companions", "own_images", "sidecars", "template_name"]


def sidecars(tasks: Iterable[Task]) -> dict[str, str]:
    """Each image that is named by no digest, as it is written, and who takes it (``env.task: container NAME``).

    Templates that are only named lie in a cluster, or in a folder of the project, and are looked at there.
    """
    return {image: whose for image, whose in companions(tasks).items() if "@" not in image}


def companions(tasks: Iterable[Task]) -> dict[str, str]:
    """As :func:`sidecars`, with those that are named by digest."""
    found: dict[str, str] = {}
    for task in tasks:
        for image, name, primary in _images(task):
            if not primary:
                found.setdefault(image, f"{task.full_name}: container {name}")
    return found


def own_images(tasks: Iterable[Task]) -> dict[str, str]:
    """The images that templates set on primary containers, and the tasks: they would run instead of the task's own."""
    return {image: task.full_name for task in tasks for image, _, primary in _images(task) if primary}


def template_name(task: Task) -> str | None:
    """The name of the task's template, where it only names one."""
    template = getattr(task.template, "pod_template", None)
    return template if isinstance(template, str) else None


def _images(task: Task) -> Iterator[tuple[str, str, bool]]:
    """Image, container, and whether that is the primary one."""
    template: Any = getattr(task.template, "pod_template", None)
    spec = getattr(template, "pod_spec", None)
    primary = getattr(template, "primary_container_name", None)
    for group in ("init_containers", "containers"):
        listed = getattr(spec, group, None)
        for container in listed if isinstance(listed, list) else ():
            image = getattr(container, "image", None)
            if isinstance(image, str):
                yield image, str(container.name), container.name == primary
