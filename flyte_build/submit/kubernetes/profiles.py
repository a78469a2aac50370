"""Where a pod with an accelerator may run: a task's words (``gpu="A100:2"``) in those of its cluster's nodes.

What the words are depends on who made the cluster; a profile has them (see ``vendors`` for those that are known).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ...kernel.values import dataclass, field
from .errors import Unplaceable

__all__ = ["CLASSES", "Accelerator", "Placement", "Profile", "Toleration"]

Class = Literal["nvidia", "tpu", "neuron", "amd", "gaudi"]
CLASSES: tuple[Class, ...] = ("nvidia", "tpu", "neuron", "amd", "gaudi")
"""In the order of ``flyteidl2.core.GPUAccelerator.DeviceClass``."""

# A share of a device, as the SDK sends it, and the device.
_SHARED = {
    "T4 shared": "nvidia-tesla-t4",
    "L4 shared": "nvidia-l4",
    "A10 shared": "nvidia-a10",
    "A10G shared": "nvidia-a10g",
    "L40S shared": "nvidia-l40s",
}
Mig = Literal["label", "resource", "product"]


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What a task asks for: ``device`` as flyte's SDK sends it (``nvidia-tesla-a100``), empty for any of its class;
    ``partition`` of it (``1g.5gb``, a TPU's topology), empty for whole ones, which ``whole`` insists on."""

    count: int
    kind: Class = "nvidia"
    device: str = ""
    partition: str = ""
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Toleration:
    """A taint that a pod may run in spite of. Without ``value`` any of its key."""

    key: str
    value: str | None = None
    effect: str = "NoSchedule"

    def to_dict(self) -> dict[str, str]:
        if self.value is None:
            return {"key": self.key, "operator": "Exists", "effect": self.effect}
        return {"key": self.key, "operator": "Equal", "value": self.value, "effect": self.effect}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a pod with an accelerator may run: the container's limit, what a node must say of itself, and what it must
    never say (without values: nothing at all under that label)."""

    resource: str
    count: int
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    never: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def expressions(self) -> list[dict[str, Any]]:
        """The same as Kubernetes' node affinity has it."""
        found: list[dict[str, Any]] = [{"key": k, "operator": "In", "values": list(v)} for k, v in self.labels]
        for key, values in self.never:
            found.append({"key": key, "operator": "NotIn", "values": list(values)} if values else _none(key))
        return found


def _none(key: str) -> dict[str, Any]:
    return {"key": key, "operator": "DoesNotExist"}


@dataclass(frozen=True, slots=True)
class Profile:
    """A cluster's words. ``devices`` maps a device of the SDK to the label's values, any of which will do.

    ``mig``: a partition is a ``label`` of the node, a ``resource`` of its own (``nvidia.com/mig-1g.5gb``, strategy
    "mixed"), or part of the ``product``'s name (strategy "single" of gpu-feature-discovery). ``unknown`` says whether a
    device that is not in ``devices`` is called as the SDK calls it; else it is refused. ``cuda_labels``: any of these
    says for which major version of CUDA a node's driver is (gpu-feature-discovery's two spellings).
    """

    name: str
    resources: Mapping[Class, str]
    device_labels: Mapping[Class, str]
    devices: Mapping[str, tuple[str, ...]]
    partition_labels: Mapping[Class, str] = field(default_factory=dict)
    mig: Mig = "label"
    unknown: bool = True
    tolerations: tuple[Toleration, ...] = ()
    spot: tuple[Toleration, ...] = ()
    shared: tuple[tuple[str, tuple[str, ...]], ...] = ()
    cuda_labels: tuple[str, ...] = ("nvidia.com/cuda.runtime-version.major", "nvidia.com/cuda.runtime.major")

    def place(self, wanted: Accelerator) -> Placement:
        """Raises :class:`Unplaceable` for what the cluster has no word for."""
        if wanted.kind not in self.resources:
            raise Unplaceable(
                f"cluster profile {self.name} has no resource for accelerators of class {wanted.kind}; expected one of "
                f"{', '.join(self.resources)}",
                hint=f"set `profile.resources.{wanted.kind}` of the target to what its nodes offer",
            )
        resource = self.resources[wanted.kind]
        labels: list[tuple[str, tuple[str, ...]]] = []
        tolerations = [*self.tolerations]
        device, shared = _SHARED.get(wanted.device, wanted.device), wanted.device in _SHARED
        if shared:
            labels += self._shared(wanted)
        # The SDK's word for it: a device that is asked for by its name is never a share of one.
        never = list(self.shared) if device and wanted.kind == "nvidia" and not shared else []
        labelled = wanted.kind != "nvidia" or self.mig == "label"
        if wanted.whole and labelled and wanted.kind in self.partition_labels:
            never.append((self.partition_labels[wanted.kind], ()))
        by_label = wanted.partition and labelled
        if device:
            key = self._label(self.device_labels, wanted, "device")
            values = self._values(device)
            if wanted.kind == "nvidia" and self.mig == "product":
                suffix = f"-MIG-{wanted.partition}" if wanted.partition else "-SHARED" if shared else ""
                values = tuple(f"{value}{suffix}" for value in values)
            labels.append((key, values))
            tolerations += [Toleration(key, value) for value in values]
        if by_label:
            key = self._label(self.partition_labels, wanted, "partition")
            labels.append((key, (wanted.partition,)))
            tolerations.append(Toleration(key, wanted.partition))
        elif wanted.partition and self.mig == "resource":
            resource = f"nvidia.com/mig-{wanted.partition}"
        return Placement(resource, wanted.count, tuple(labels), tuple(tolerations), tuple(never))

    def _label(self, labels: Mapping[Class, str], wanted: Accelerator, what: str) -> str:
        if wanted.kind not in labels:
            raise Unplaceable(
                f"cluster profile {self.name} has no label for the {what} of accelerators of class {wanted.kind}, "
                f"which {wanted.device or 'a partition'} needs",
                hint=f"set `profile.{what}-labels.{wanted.kind}` of the target to the label that its nodes carry",
            )
        return labels[wanted.kind]

    def _values(self, device: str) -> tuple[str, ...]:
        if device in self.devices:
            return self.devices[device]
        if not self.unknown:
            raise Unplaceable(
                f"cluster profile {self.name} does not know the device {device}; it knows {', '.join(self.devices)}",
                hint=f'set `profile.devices."{device}"` of the target to the values of its nodes\' label',
            )
        return (device,)

    def _shared(self, wanted: Accelerator) -> tuple[tuple[str, tuple[str, ...]], ...]:
        if not self.shared and self.mig != "product":
            raise Unplaceable(
                f"cluster profile {self.name} says nothing of shared accelerators, which {wanted.device} is",
                hint="set `profile.shared` of the target to the labels of nodes that share theirs, or ask for a whole",
            )
        return self.shared
