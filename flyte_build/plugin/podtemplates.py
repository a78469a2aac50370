"""Images that a pod template names: they would run instead of, or beside, the image that was pinned.

In the SDK, an image that a template sets on its primary container wins over the environment's. A template that is
only named (a string) is looked up in the cluster and cannot be seen from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flyte

__all__ = ["overriding_images", "unpinned_companions"]


def overriding_images(environment: flyte.Environment) -> list[str]:
    """The images of primary containers that are not named by digest, in the environment's templates and its tasks'."""
    return sorted({image for primary, image in _images(environment) if primary and "@" not in image})


def unpinned_companions(environment: flyte.Environment) -> list[str]:
    """The images of all other containers that are not named by digest."""
    return sorted({image for primary, image in _images(environment) if not primary and "@" not in image})


def _images(environment: flyte.Environment) -> Iterator[tuple[bool, str]]:
    holders = (environment, *getattr(environment, "tasks", {}).values())
    templates = {id(t): t for holder in holders if (t := getattr(holder, "pod_template", None)) is not None}
    for template in templates.values():
        spec: Any = getattr(template, "pod_spec", None)
        if spec is None:
            continue
        for container in getattr(spec, "containers", None) or ():
            yield from _image(container, container.name == template.primary_container_name)
        for container in getattr(spec, "init_containers", None) or ():
            yield from _image(container, False)


def _image(container: Any, primary: bool) -> Iterator[tuple[bool, str]]:
    image = container.image
    if image:
        yield primary, image.uri if isinstance(image, flyte.Image) else str(image)
