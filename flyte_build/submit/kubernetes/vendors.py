"""Profiles of the clusters that people have: resource names, node labels, taints. The only module with vendors' words.

``eks`` (also the default of Flyte's own backend), ``gke``, and ``gpu-feature-discovery`` (NVIDIA's GPU operator, AMD's
node labeller: clusters that people run themselves). Settings change single entries.

Sources: flyteplugins' default configuration; GKE's and EKS's documentation of node labels; NVIDIA's
gpu-feature-discovery and k8s-device-plugin (MIG strategies); AMD's node labeller; Karpenter's well-known labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from .errors import Unplaceable
from .profiles import Class, Profile, Toleration

__all__ = ["PROFILES", "profile_of"]

_RESOURCES: dict[Class, str] = {
    "nvidia": "nvidia.com/gpu",
    "tpu": "google.com/tpu",
    "neuron": "aws.amazon.com/neuron",
    "amd": "amd.com/gpu",
    "gaudi": "habana.ai/gaudi",
}
_GPU_TAINT = Toleration("nvidia.com/gpu")
_PRODUCTS = {
    "nvidia-a10": ("NVIDIA-A10",),
    "nvidia-a10g": ("NVIDIA-A10G",),
    "nvidia-tesla-a100": ("NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-PCIE-40GB"),
    "nvidia-a100-80gb": ("NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe"),
    "B200": ("NVIDIA-B200",),
    "GB10": ("NVIDIA-GB10",),
    "nvidia-tesla-h100": ("NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe", "NVIDIA-H100-NVL"),
    "H200": ("NVIDIA-H200", "NVIDIA-H200-NVL"),
    "nvidia-l4": ("NVIDIA-L4",),
    "nvidia-l40s": ("NVIDIA-L40S",),
    "A2": ("NVIDIA-A2",),
    "nvidia-tesla-t4": ("Tesla-T4",),
    "nvidia-tesla-v100": (
        "Tesla-V100-SXM2-16GB", "Tesla-V100-SXM2-32GB", "Tesla-V100-PCIE-16GB", "Tesla-V100-PCIE-32GB",
    ),
    "nvidia-rtx-pro-4500": ("NVIDIA-RTX-PRO-4500-Blackwell",),
    "nvidia-rtx-pro-6000": ("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",),
    "MI100": ("AMD_Instinct_MI100",),
    "MI210": ("AMD_Instinct_MI210",),
    "MI250": ("AMD_Instinct_MI250",),
    "MI250X": ("AMD_Instinct_MI250X",),
    "MI300A": ("AMD_Instinct_MI300A",),
    "MI300X": ("AMD_Instinct_MI300X", "AMD_Instinct_MI300X_OAM"),
    "MI325X": ("AMD_Instinct_MI325X", "AMD_Instinct_MI325X_OAM"),
    "MI350X": ("AMD_Instinct_MI350X", "AMD_Instinct_MI350X_OAM"),
    "MI355X": ("AMD_Instinct_MI355X", "AMD_Instinct_MI355X_OAM"),
}  # fmt: skip
PROFILES: Mapping[str, Profile] = MappingProxyType({
    "eks": Profile(
        "eks",
        resources=_RESOURCES,
        device_labels={
            "nvidia": "k8s.amazonaws.com/accelerator",
            "amd": "k8s.amazonaws.com/accelerator",
            "neuron": "karpenter.k8s.aws/instance-family",
            "gaudi": "karpenter.k8s.aws/instance-family",
        },
        devices={
            "Gaudi1": ("dl1",),
            **{name: (name.lower(),) for name in ("Inf1", "Inf2", "Trn1", "Trn1n", "Trn2", "Trn2u")},
        },
        partition_labels={"nvidia": "k8s.amazonaws.com/gpu-partition-size"},
        tolerations=(_GPU_TAINT,),
        spot=(Toleration("karpenter.sh/capacity-type", "spot"), Toleration("eks.amazonaws.com/capacityType", "SPOT")),
    ),
    "gke": Profile(
        "gke",
        resources=_RESOURCES,
        device_labels={
            "nvidia": "cloud.google.com/gke-accelerator",
            "tpu": "cloud.google.com/gke-tpu-accelerator",
        },
        devices={
            "nvidia-tesla-h100": ("nvidia-h100-80gb", "nvidia-h100-mega-80gb"),
            "H200": ("nvidia-h200-141gb",),
            "B200": ("nvidia-b200",),
        },
        partition_labels={
            "nvidia": "cloud.google.com/gke-gpu-partition-size",
            "tpu": "cloud.google.com/gke-tpu-topology",
        },
        tolerations=(_GPU_TAINT, Toleration("google.com/tpu")),
        spot=(Toleration("cloud.google.com/gke-spot", "true"),),
        shared=(("cloud.google.com/gke-gpu-sharing-strategy", ("time-sharing", "mps")),),
    ),
    "gpu-feature-discovery": Profile(
        "gpu-feature-discovery",
        resources=_RESOURCES,
        device_labels={"nvidia": "nvidia.com/gpu.product", "amd": "amd.com/gpu.product-name"},
        devices=_PRODUCTS,
        mig="product",
        unknown=False,
        tolerations=(_GPU_TAINT, Toleration("amd.com/gpu"), Toleration("habana.ai/gaudi")),
    ),
})  # fmt: skip


def profile_of(name: str, changes: Mapping[str, Any] = MappingProxyType({})) -> Profile:
    """The profile ``name``, with single entries of its maps and values changed; raises :class:`Unplaceable`."""
    if name not in PROFILES:
        raise Unplaceable(f"no cluster profile {name!r}; expected one of {', '.join(PROFILES)}")
    base = PROFILES[name]
    changed: dict[str, Any] = {
        key: {**getattr(base, key), **value} if isinstance(value, Mapping) else value for key, value in changes.items()
    }
    return replace(base, **changed)
