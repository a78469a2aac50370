"""What a task asks for of a machine, read off its description: amounts, and devices. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from flyteidl2.core import tasks_pb2

from .action import Resources
from .amounts import number, octets, quantity

__all__ = ["resources_of"]

_NVIDIA = 0  # flyteidl2.core.GPUAccelerator.DeviceClass


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
    return Resources(
        cpu=number(asked.get("cpu")),
        memory=octets(asked.get("memory")),
        shm=octets(shm),
        accelerator=accelerator,
        # A container's name of it, and a pod's.
        disk=octets(asked.get("ephemeral_storage") or asked.get("ephemeral-storage")),
        gpus=_gpus(accelerator) if ours else 0,
        partition=bool(told.partition_size) or (accelerator or "").startswith("nvidia.com/mig-"),
    )


def _gpus(accelerator: str | None) -> int:
    """How many of NVIDIA's devices: a bare ``gpu`` is one of them; of other makers none."""
    kind, _, count = (accelerator or "").rpartition(": ")
    other = ("/" in kind and not kind.startswith("nvidia.com/")) or kind.startswith("amd")
    return int(quantity(count)) if kind and not other else 0
