"""Pods go where their image can run, and where no node can run it that is said before one is made."""

from __future__ import annotations

from typing import Any

import flyte

from flyte_build.submit.kubernetes.needs import NOTHING, Needs, platform_of, require, unsuited
from flyte_build.submit.kubernetes.pod import Place
from flyte_build.submit.kubernetes.preflight import hopeless
from flyte_build.submit.kubernetes.vendors import PROFILES
from tests.support.apiserver import NAMESPACE, ApiServer

from .test_fit import GPU, affinity, expression, node
from .test_pod import DIGEST, IMAGE, request_of, spec_of

EKS = PROFILES["eks"]
ARCH, OS = "kubernetes.io/arch", "kubernetes.io/os"
CUDA, OLD_CUDA = "nvidia.com/cuda.runtime-version.major", "nvidia.com/cuda.runtime.major"
DRIVER = "nvidia.com/cuda.driver-version.full"


def pod(**more: Any) -> dict[str, Any]:
    return {"containers": [{"resources": {"limits": {"cpu": "1", **more.pop("limits", {})}}}], **more}


def terms(made: dict[str, Any]) -> list[list[dict[str, Any]]]:
    required = made["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return [term["matchExpressions"] for term in required["nodeSelectorTerms"]]


def arch(name: str, **more: str) -> dict[str, str]:
    return {OS: "linux", ARCH: name, **more}


def test_a_pod_goes_to_nodes_that_its_image_is_for() -> None:
    made = pod()
    require(Needs(("linux/arm64", "linux/amd64")), made, EKS)
    assert terms(made) == [[expression(OS, "In", "linux"), expression(ARCH, "In", "amd64", "arm64")]]
    assert made["tolerations"] == [{"key": ARCH, "operator": "Equal", "value": "arm64", "effect": "NoSchedule"}]


def test_each_alternative_that_a_template_has_says_it() -> None:
    zones = [[expression("zone", "In", "a")], [expression("zone", "In", "b")]]
    made = pod(affinity=affinity(*zones))
    require(Needs(("linux/amd64",)), made, EKS)
    assert [term[0] for term in terms(made)] == [zone[0] for zone in zones]
    assert [term[1:] for term in terms(made)] == [[expression(OS, "In", "linux"), expression(ARCH, "In", "amd64")]] * 2
    assert "tolerations" not in made


def test_nothing_is_asked_where_nothing_is_known() -> None:
    made = pod(limits={GPU: "1"})
    require(NOTHING, made, EKS)
    assert made == pod(limits={GPU: "1"})


def test_only_what_has_a_gpu_asks_for_a_driver_and_only_of_nodes_that_tell() -> None:
    needs = Needs(cuda="12.4")
    without, having = pod(), pod(limits={GPU: "1"})
    require(needs, without, EKS)
    require(needs, having, EKS)
    older = ("8", "9", "10", "11")
    assert "affinity" not in without
    assert terms(having) == [[expression(CUDA, "NotIn", *older), expression(OLD_CUDA, "NotIn", *older)]]
    silent, good, old = node(gpu="1"), node(gpu="1", labels={CUDA: "12"}), node(gpu="1", labels={OLD_CUDA: "11"})
    assert unsuited(needs, having, [silent, old], EKS) is None
    assert unsuited(needs, having, [good, old], EKS) is None
    assert unsuited(needs, having, [old], EKS) is not None
    newer = pod(limits={GPU: "1"})
    require(Needs(cuda="11.8"), newer, EKS)
    assert unsuited(Needs(cuda="11.8"), newer, [good], EKS) is None, "a driver knows what came before it"


def test_why_no_node_suits_it() -> None:
    needs = Needs(("linux/amd64",), "13.0")
    made = pod(limits={GPU: "1"})
    require(needs, made, EKS)
    small = node(labels=arch("amd64"))
    arm = node(gpu="8", labels=arch("arm64", **{CUDA: "13"}))
    old = node(gpu="8", labels=arch("amd64", **{CUDA: "12", DRIVER: "550.54.15"}))
    assert unsuited(needs, made, [small, arm], EKS) == (
        "its image is for linux/amd64, and the one node that could hold it is linux/arm64",
        "give the image that platform (`platform=('linux/arm64',)`), and lock again",
    )
    assert unsuited(needs, made, [small, arm, old, old], EKS) == (
        "its locked wheels are made for CUDA 13.0, and the 2 nodes that could hold it have driver 550.54.15 "
        "for CUDA 12",
        "lock wheels of an older CUDA, or have drivers that are for CUDA 13 installed",
    )
    assert unsuited(needs, made, [small], EKS) is None, "that it has no GPU is for another to say"
    assert unsuited(needs, made, [], EKS) is None
    assert platform_of(node()) == ""


def test_it_is_found_before_a_job_is_made(api: ApiServer) -> None:
    have = {"cpu": "8", "memory": "32Gi", GPU: "4"}
    api.put("v1/nodes", {"metadata": {"name": "n1", "labels": arch("arm64")}, "status": {"allocatable": have}})
    request = request_of(spec_of(resources=flyte.Resources(gpu=1)), image=IMAGE)
    (problem,) = hopeless(api.cluster(), [request], Place(NAMESPACE), {DIGEST: Needs(("linux/amd64",))})
    assert (problem.job, problem.message) == (
        "gpu.train", "its image is for linux/amd64, and the one node that could hold it is linux/arm64",
    )  # fmt: skip
    assert hopeless(api.cluster(), [request], Place(NAMESPACE), {DIGEST: Needs(("linux/arm64",))}) == []
