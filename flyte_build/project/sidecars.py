"""The images of other containers than a task's or an app's own, as its pod template has them. Never asks a registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..kernel.values import dataclass, field
from .nouns import Environment, Task

__all__ = ["Taker", "companions", "own_images", "sidecars", "takers"]


@dataclass(frozen=True, slots=True)
class Taker:
    """A task, or an app, that has a pod template: ``name`` is what messages call it (``env.task``, ``app front``),
    ``template`` the SDK's object, or the name of one that lies elsewhere."""

    name: str
    template: Any = field(repr=False, compare=False)

    @property
    def template_name(self) -> str | None:
        """The name of its template, where it only names one."""
        return self.template if isinstance(self.template, str) else None


def takers(tasks: Iterable[Task], apps: Iterable[Environment] = ()) -> list[Taker]:
    """Those of ``tasks`` that have a pod template, and the apps among the environments ``apps``."""
    named = [(task.full_name, task.template) for task in tasks]
    named += [(f"app {environment.name}", environment.app) for environment in apps if environment.app is not None]
    found = ((name, getattr(holder, "pod_template", None)) for name, holder in named)
    return [Taker(name, template) for name, template in found if template is not None]


def sidecars(takers: Iterable[Taker]) -> dict[str, str]:
    """Each image that is named by no digest, as it is written, and who takes it (``env.task: container NAME``).

    Templates that are only named lie in a cluster, or in a folder of the project, and are looked at there.
    """
    return {image: whose for image, whose in companions(takers).items() if "@" not in image}


def companions(takers: Iterable[Taker]) -> dict[str, str]:
    """As :func:`sidecars`, with those that are named by digest."""
    found: dict[str, str] = {}
    for taker in takers:
        for image, name, primary in _images(taker):
            if not primary:
                found.setdefault(image, f"{taker.name}: container {name}")
    return found


def own_images(takers: Iterable[Taker]) -> dict[str, str]:
    """The images that templates set on primary containers, and whose: they would run instead of the image that is
    pinned."""
    return {image: taker.name for taker in takers for image, _, primary in _images(taker) if primary}


def _images(taker: Taker) -> Iterator[tuple[str, str, bool]]:
    """Image, container, and whether that is the primary one."""
    spec = getattr(taker.template, "pod_spec", None)
    primary = getattr(taker.template, "primary_container_name", None)
    for group in ("init_containers", "containers"):
        listed = getattr(spec, group, None)
        for container in listed if isinstance(listed, list) else ():
            image = getattr(container, "image", None)
            if isinstance(image, str):
                yield image, str(container.name), container.name == primary
