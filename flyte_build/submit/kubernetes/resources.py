"""What a container asks for and may use, as Kubernetes wants it.

As Flyte's backend has it: a request without a limit is its own limit and the other way round, processors and memory
have defaults. Quantities stay as they were written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flyteidl2.core import tasks_pb2

from ...kernel.values import dataclass
from ..template import quantity
from .errors import Unplaceable
from .profiles import CLASSES, Accelerator

__all__ = ["Asked", "accelerator", "asked_of", "balanced", "within"]

_NAMES = tasks_pb2.Resources
_PLAIN = {
    _NAMES.CPU: "cpu",
    _NAMES.MEMORY: "memory",
    _NAMES.EPHEMERAL_STORAGE: "ephemeral-storage",
    _NAMES.STORAGE: "ephemeral-storage",
}
_GPU = "gpu"


@dataclass(frozen=True, slots=True)
class Asked:
    """Quantities by Kubernetes' names; how many accelerators is under ``gpu``, as the SDK has it."""

    requests: Mapping[str, str]
    limits: Mapping[str, str]

    @property
    def accelerators(self) -> int:
        return max((int(quantity(d[_GPU])) for d in (self.requests, self.limits) if _GPU in d), default=0)

    def named(self, resource: str) -> Asked:
        """With the accelerator's count under the name that the cluster has for it."""
        requests, limits = ({resource if k == _GPU else k: v for k, v in d.items()} for d in self._both())
        return Asked(requests, limits)

    def _both(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return self.requests, self.limits


def asked_of(resources: tasks_pb2.Resources) -> Asked:
    """What a container template asks for. An empty or zero entry asks for nothing."""

    def entries(rows: Any) -> dict[str, str]:
        found = {_PLAIN.get(e.name, _GPU if e.name == _NAMES.GPU else ""): e.value for e in rows}
        return {k: v for k, v in found.items() if k and v and quantity(v)}

    return Asked(entries(resources.requests), entries(resources.limits))


def balanced(asked: Asked, defaults: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """A container's ``resources``; raises :class:`Unplaceable` for a request beyond its limit, and ValueError."""
    requests, limits = dict(asked.requests), dict(asked.limits)
    for name in dict.fromkeys((*requests, *limits, *defaults)):
        least = requests.get(name) or limits.get(name) or defaults[name]
        most = limits.get(name) or least
        if quantity(least) > quantity(most):
            raise Unplaceable(
                f"{name}: {least} is requested, and the limit is {most}",
                hint="request at most what the limit is, or give one value for both",
            )
        requests[name], limits[name] = least, most
    return {"requests": dict(sorted(requests.items())), "limits": dict(sorted(limits.items()))}


def within(pod: Mapping[str, Any], quotas: Mapping[str, str], task: str) -> None:
    """Raise :class:`Unplaceable` where all containers of ``pod`` together may use more than ``quotas`` say."""
    for name, most in quotas.items():
        limits = [(c.get("resources") or {}).get("limits") or {} for c in pod["containers"]]
        asked = [quantity(str(limit[name])) for limit in limits if name in limit]
        if sum(asked) > quantity(most):
            raise Unplaceable(
                f"{task} asks for more {name} than the target's quota of {most}",
                hint="ask for less, or raise `quotas` of the target",
            )


def accelerator(asked: Asked, extended: tasks_pb2.ExtendedResources) -> Accelerator | None:
    """What the task asks for besides; raises :class:`Unplaceable` for a device of no class that a cluster has."""
    if not extended.HasField("gpu_accelerator"):
        return Accelerator(asked.accelerators) if asked.accelerators else None
    told = extended.gpu_accelerator
    if told.device_class >= len(CLASSES):
        raise Unplaceable(
            f"{told.device or 'the accelerator'} is no device of a cluster; expected one of class {', '.join(CLASSES)}",
            hint="run the task where the device is",
        )
    kind = CLASSES[told.device_class]
    return Accelerator(max(asked.accelerators, 1), kind, told.device, told.partition_size, told.unpartitioned)
