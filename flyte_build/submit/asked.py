"""What a task asks for of a machine, read off its description: quantities as Kubernetes has them, devices. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from flyteidl2.core import tasks_pb2

from .action import Resources

__all__ = ["quantity", "resources_of"]

_SUFFIXES: Mapping[str, int | Decimal] = {
    "": 1, "m": Decimal("0.001"), "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip
_QUANTITY = re.compile(r"([0-9.]{1,40}(?:[eE][+-]?[0-9]{1,2})?)([a-zA-Z]*)")
_NVIDIA = 0  # flyteidl2.core.GPUAccelerator.DeviceClass


def quantity(text: str) -> Decimal:
    """A Kubernetes quantity (``500m``, ``1Gi``, ``2e3``); raises ``ValueError``."""
    found = _QUANTITY.fullmatch(text.strip())
    try:
        if found is None:
            raise KeyError(text)
        return Decimal(found[1]) * _SUFFIXES[found[2]]
    except (KeyError, InvalidOperation):
        raise ValueError(f"expected a quantity such as `500m` or `2Gi`, found {text!r}") from None


def resources_of(asked: Mapping[str, str], extended: tasks_pb2.ExtendedResources) -> Resources:
    """``asked`` are quantities by name, ``accelerator`` among them (``KIND: COUNT``). Raises ``ValueError``."""
    told, accelerator, shm = extended.gpu_accelerator, asked.get("accelerator"), asked.get("shm")
    ours = True
    if extended.HasField("gpu_accelerator") and told.device:
        _, _, count = (accelerator or "").rpartition(": ")
        accelerator = f"{told.device}: {count or 1}"
        ours = told.device_class == _NVIDIA
    if extended.HasField("shared_memory"):
        # An empty limit means "as much as the node gives", which is the default of /dev/shm.
        shm = extended.shared_memory.size_limit
    cpu = asked.get("cpu")
    return Resources(
        cpu=float(quantity(cpu)) if cpu else None,
        memory=_bytes(asked.get("memory")),
        shm=_bytes(shm),
        accelerator=accelerator,
        # A container's name of it, and a pod's.
        disk=_bytes(asked.get("ephemeral_storage") or asked.get("ephemeral-storage")),
        gpus=_gpus(accelerator) if ours else 0,
        partition=bool(told.partition_size) or (accelerator or "").startswith("nvidia.com/mig-"),
    )


def _gpus(accelerator: str | None) -> int:
    """How many of NVIDIA's devices: a bare ``gpu`` is one of them; of other makers none."""
    kind, _, count = (accelerator or "").rpartition(": ")
    other = ("/" in kind and not kind.startswith("nvidia.com/")) or kind.startswith("amd")
    return int(quantity(count)) if kind and not other else 0


def _bytes(text: str | None) -> int | None:
    return int(quantity(text)) if text else None
