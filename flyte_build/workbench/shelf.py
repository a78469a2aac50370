"""Where tasks are deployed to, as ``deploy`` sees it: this machine, or a target's storage (see ``deploying_away``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flyteidl2.task.task_definition_pb2 import TaskSpec

from ..submit.deployed import DeployedTask

__all__ = ["Shelf", "completed"]


@dataclass(frozen=True, slots=True)
class Shelf:
    """``references``: environment → its image by digest, as those who run it have it; ``needs``: what images need of
    nodes, by digest; ``sidecars``: the images of other containers, as code writes them, by digest; ``apps``: those that
    an environment depends on, by its name, as whoever serves them has them."""

    references: Mapping[str, str]
    put: Callable[[Iterable[DeployedTask]], list[tuple[DeployedTask, bool]]]
    needs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sidecars: Mapping[str, str] = field(default_factory=dict)
    apps: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    def completed(self, spec: TaskSpec) -> TaskSpec:
        """``spec``, changed: every other container of its pod by digest, as the lock pins it."""
        return completed(spec, self.sidecars)


def completed(spec: TaskSpec, sidecars: Mapping[str, str]) -> TaskSpec:
    """``spec``, changed: each container of its pod whose image is among ``sidecars`` has what these say."""
    if not sidecars or not spec.task_template.HasField("k8s_pod"):
        return spec
    pod = spec.task_template.k8s_pod.pod_spec
    for kind in ("initContainers", "containers"):
        if kind not in pod:
            continue
        for container in pod[kind]:
            if "image" in container and (image := sidecars.get(container["image"])):
                container["image"] = image
    return spec
