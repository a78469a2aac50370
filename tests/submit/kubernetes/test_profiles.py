"""Accelerators in the words of clusters: every form that the SDK has, on every profile, or refused with a way out."""

from __future__ import annotations

from typing import get_args

import flyte
import pytest
from flyte._internal.runtime.resources_serde import get_proto_extended_resources, get_proto_resources
from flyte._resources import Accelerators
from flyteidl2.core import tasks_pb2

from flyte_build.submit.kubernetes.errors import Unplaceable
from flyte_build.submit.kubernetes.profiles import Accelerator, Placement, Toleration
from flyte_build.submit.kubernetes.resources import accelerator, asked_of
from flyte_build.submit.kubernetes.vendors import PROFILES, profile_of

EKS, GKE, GFD = "k8s.amazonaws.com/accelerator", "cloud.google.com/gke-accelerator", "nvidia.com/gpu.product"


def wanted(gpu: object) -> Accelerator | None:
    resources = flyte.Resources(gpu=gpu)  # type: ignore[arg-type]
    extended = get_proto_extended_resources(resources) or tasks_pb2.ExtendedResources()
    return accelerator(asked_of(get_proto_resources(resources) or tasks_pb2.Resources()), extended)


def place(profile: str, gpu: object) -> Placement:
    found = wanted(gpu)
    assert found is not None
    return PROFILES[profile].place(found)


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        (0, None),
        (None, None),
        (3, Accelerator(3)),
        ("T4:1", Accelerator(1, "nvidia", "nvidia-tesla-t4")),
        ("A100:2", Accelerator(2, "nvidia", "nvidia-tesla-a100")),
        ("T4 shared:1", Accelerator(1, "nvidia", "T4 shared")),
        (flyte.GPU("A100", 1, "1g.5gb"), Accelerator(1, "nvidia", "nvidia-tesla-a100", "1g.5gb")),
        (flyte.TPU("V5P", "2x2x1"), Accelerator(1, "tpu", "tpu-v5p-slice", "2x2x1")),
        (flyte.Neuron("Trn1"), Accelerator(1, "neuron", "Trn1")),
        ("Inf2:4", Accelerator(4, "neuron", "Inf2")),
        (flyte.AMD_GPU("MI300X"), Accelerator(1, "amd", "MI300X")),
        (flyte.HABANA_GAUDI("Gaudi1"), Accelerator(1, "gaudi", "Gaudi1")),
    ],
)
def test_what_the_sdk_sends_is_read(gpu: object, expected: Accelerator | None) -> None:
    assert wanted(gpu) == expected


def test_a_macs_gpu_is_in_no_cluster() -> None:
    with pytest.raises(Unplaceable, match="AppleSilicon is no device of a cluster"):
        wanted("AppleSilicon")


@pytest.mark.parametrize("profile", PROFILES)
def test_a_bare_count_asks_for_no_label(profile: str) -> None:
    found = place(profile, 2)
    assert (found.resource, found.count, found.labels) == ("nvidia.com/gpu", 2, ())
    assert Toleration("nvidia.com/gpu") in found.tolerations


@pytest.mark.parametrize(
    ("profile", "gpu", "resource", "labels"),
    [
        ("eks", "A100:2", "nvidia.com/gpu", ((EKS, ("nvidia-tesla-a100",)),)),
        ("eks", "Trn1:16", "aws.amazon.com/neuron", (("karpenter.k8s.aws/instance-family", ("trn1",)),)),
        ("eks", "Gaudi1:1", "habana.ai/gaudi", (("karpenter.k8s.aws/instance-family", ("dl1",)),)),
        (
            "eks",
            flyte.GPU("A100", 1, "1g.5gb"),
            "nvidia.com/gpu",
            ((EKS, ("nvidia-tesla-a100",)), ("k8s.amazonaws.com/gpu-partition-size", ("1g.5gb",))),
        ),
        ("gke", "H100:8", "nvidia.com/gpu", ((GKE, ("nvidia-h100-80gb", "nvidia-h100-mega-80gb")),)),
        ("gke", "L4:1", "nvidia.com/gpu", ((GKE, ("nvidia-l4",)),)),
        (
            "gke",
            "T4 shared:1",
            "nvidia.com/gpu",
            (("cloud.google.com/gke-gpu-sharing-strategy", ("time-sharing", "mps")), (GKE, ("nvidia-tesla-t4",))),
        ),
        (
            "gke",
            flyte.TPU("V5E", "2x4"),
            "google.com/tpu",
            (
                ("cloud.google.com/gke-tpu-accelerator", ("tpu-v5-lite-podslice",)),
                ("cloud.google.com/gke-tpu-topology", ("2x4",)),
            ),
        ),
        ("gpu-feature-discovery", "T4:1", "nvidia.com/gpu", ((GFD, ("Tesla-T4",)),)),
        ("gpu-feature-discovery", "T4 shared:1", "nvidia.com/gpu", ((GFD, ("Tesla-T4-SHARED",)),)),
        (
            "gpu-feature-discovery",
            flyte.GPU("H100", 1, "1g.10gb"),
            "nvidia.com/gpu",
            (
                (
                    GFD,
                    (
                        "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb",
                        "NVIDIA-H100-PCIe-MIG-1g.10gb",
                        "NVIDIA-H100-NVL-MIG-1g.10gb",
                    ),
                ),
            ),
        ),
        (
            "gpu-feature-discovery",
            "MI300X:1",
            "amd.com/gpu",
            (("amd.com/gpu.product-name", ("AMD_Instinct_MI300X", "AMD_Instinct_MI300X_OAM")),),
        ),
    ],
)
def test_a_device_is_a_label(profile: str, gpu: object, resource: str, labels: object) -> None:
    found = place(profile, gpu)
    assert (found.resource, found.labels) == (resource, labels)
    tolerated = {(t.key, t.value) for t in found.tolerations}
    assert all((k, v) in tolerated for k, values in found.labels for v in values if "sharing" not in k)


# As docs/kubernetes.md has it in its table.
NO_WORD = {
    ("eks", "shared"), ("eks", "tpu"), ("gke", "amd"), ("gke", "neuron"), ("gke", "gaudi"),
    ("gpu-feature-discovery", "tpu"), ("gpu-feature-discovery", "neuron"), ("gpu-feature-discovery", "gaudi"),
}  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES)
def test_every_accelerator_of_the_sdk_has_its_place_or_a_way_out(profile: str) -> None:
    names = [name for name in get_args(Accelerators) if not name.startswith("AppleSilicon")]
    assert len(names) > 80
    for name in names:
        wants = wanted(name)
        assert wants is not None
        assert (wants.count, bool(wants.device)) == (int(name.partition(":")[2]), True)
        if (profile, "shared" if "shared" in name else wants.kind) in NO_WORD:
            with pytest.raises(Unplaceable) as e:
                PROFILES[profile].place(wants)
            assert str(e.value.hint).startswith("set `profile."), name
        else:
            found = PROFILES[profile].place(wants)
            assert found.resource == PROFILES[profile].resources[wants.kind]
            assert found.labels, name


SHARING = "cloud.google.com/gke-gpu-sharing-strategy"


def test_a_device_by_its_name_is_never_a_share_and_one_that_is_whole_no_partition() -> None:
    """The SDK's word for it."""
    assert place("gke", "T4:1").never == ((SHARING, ("time-sharing", "mps")),)
    assert place("gke", "T4 shared:1").never == ()
    assert place("gke", 1).never == (), "of a bare count nothing is said"
    told = tasks_pb2.ExtendedResources()
    told.gpu_accelerator.device, told.gpu_accelerator.unpartitioned = "nvidia-tesla-a100", True
    wants = accelerator(asked_of(tasks_pb2.Resources()), told)
    assert wants == Accelerator(1, "nvidia", "nvidia-tesla-a100", whole=True)
    found = PROFILES["gke"].place(wants)
    assert found.expressions == [
        {"key": GKE, "operator": "In", "values": ["nvidia-tesla-a100"]},
        {"key": SHARING, "operator": "NotIn", "values": ["time-sharing", "mps"]},
        {"key": "cloud.google.com/gke-gpu-partition-size", "operator": "DoesNotExist"},
    ]
    assert PROFILES["gpu-feature-discovery"].place(wants).never == (), "its product's name says it"


def test_mig_of_the_mixed_strategy_is_a_resource_of_its_own() -> None:
    profile = profile_of("gpu-feature-discovery", {"mig": "resource"})
    found = profile.place(Accelerator(2, "nvidia", "nvidia-a100-80gb", "3g.40gb"))
    assert (found.resource, found.count) == ("nvidia.com/mig-3g.40gb", 2)
    assert found.labels == ((GFD, ("NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe")),)


def test_single_entries_of_a_profile_are_changed() -> None:
    changes = {"devices": {"nvidia-l4": ("our-l4",)}, "resources": {"nvidia": "nvidia.com/gpu.shared"}}
    profile = profile_of("eks", changes)
    assert profile.place(Accelerator(1, "nvidia", "nvidia-l4")).labels == ((EKS, ("our-l4",)),)
    assert profile.place(Accelerator(1)).resource == "nvidia.com/gpu.shared"
    assert profile.place(Accelerator(1, "tpu")).resource == "google.com/tpu"
    assert PROFILES["eks"].devices.get("nvidia-l4") is None, "the one it was made from stays"


@pytest.mark.parametrize(
    ("profile", "gpu", "said"),
    [
        ("gpu-feature-discovery", flyte.TPU("V5E"), "no label for the device of accelerators of class tpu"),
        ("gke", flyte.HABANA_GAUDI("Gaudi1"), "no label for the device of accelerators of class gaudi"),
        ("eks", "T4 shared:1", "says nothing of shared accelerators, which T4 shared is"),
    ],
)
def test_what_a_cluster_has_no_word_for_is_refused_with_a_way_out(profile: str, gpu: object, said: str) -> None:
    with pytest.raises(Unplaceable, match=said) as e:
        place(profile, gpu)
    assert e.value.hint is not None
    assert "of the target" in e.value.hint


def test_an_unknown_device_or_profile_is_refused() -> None:
    with pytest.raises(Unplaceable, match="does not know the device nvidia-tesla-k80; it knows nvidia-a10, "):
        PROFILES["gpu-feature-discovery"].place(Accelerator(1, "nvidia", "nvidia-tesla-k80"))
    assert PROFILES["eks"].place(Accelerator(1, "nvidia", "nvidia-tesla-k80")).labels == ((EKS, ("nvidia-tesla-k80",)),)
    with pytest.raises(Unplaceable, match="no cluster profile 'aks'; expected one of eks, gke, gpu-feature-discovery"):
        profile_of("aks")
