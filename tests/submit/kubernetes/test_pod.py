"""The Job of an attempt: the SDK's own serialized tasks in, what Kubernetes is sent out."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

import flyte
import pytest
import yaml
from flyte._internal.runtime.task_serde import get_proto_task
from flyte.models import SerializationContext
from flyteidl2.task import task_definition_pb2
from kubernetes.client import (
    V1Affinity,
    V1Container,
    V1ContainerPort,
    V1EnvVar,
    V1NodeAffinity,
    V1NodeSelector,
    V1NodeSelectorRequirement,
    V1NodeSelectorTerm,
    V1PodSpec,
    V1ResourceRequirements,
)

from flyte_build.submit.action import LaunchRequest, SecretRef
from flyte_build.submit.kubernetes.calling import service_of
from flyte_build.submit.kubernetes.errors import Unplaceable
from flyte_build.submit.kubernetes.needs import Needs
from flyte_build.submit.kubernetes.pod import Place, job
from flyte_build.submit.kubernetes.vendors import PROFILES

DIGEST = "sha256:" + "ab" * 32
IMAGE = f"registry.example/team/gpu@{DIGEST}"
SIDE = f"registry.example/side@{DIGEST}"
PLACE = Place("team")


def spec_of(**environment: Any) -> bytes:
    env = flyte.TaskEnvironment("gpu", image=flyte.Image.from_base(IMAGE), **environment)

    @env.task
    async def train(x: int) -> int:
        return x

    context = SerializationContext(version="v1", project="p", domain="d", org="o", root_dir=Path("/"))
    return task_definition_pb2.TaskSpec(task_template=get_proto_task(train, context)).SerializeToString()


def made(spec: bytes, place: Place = PLACE, **more: Any) -> dict[str, Any]:
    keep = {k: more.pop(k) for k in ("template", "needs") if k in more}
    return job(request_of(spec, **more), IMAGE, place, **keep)


def request_of(spec: bytes, **more: Any) -> LaunchRequest:
    return LaunchRequest(
        run="r1", action="a0", attempt=1, log=Path("/dev/null"), task_spec=spec,
        **{"image": DIGEST, "task": "gpu.train", "args": ("a0", "--run-name", "r1"), "env": {"RUN_NAME": "r1"}} | more,
    )  # fmt: skip


def pod_of(spec: bytes, place: Place = PLACE, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = made(spec, place, **more)["spec"]["template"]["spec"]
    return found


def main_of(spec: bytes, place: Place = PLACE, **more: Any) -> dict[str, Any]:
    (found,) = [c for c in pod_of(spec, place, **more)["containers"] if c["image"] == IMAGE]
    return dict(found)


def expressions(pod: dict[str, Any]) -> list[list[dict[str, Any]]]:
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return [term["matchExpressions"] for term in required["nodeSelectorTerms"]]


def test_a_plain_task_is_this_job_and_nothing_else() -> None:
    labels = {
        "run": "r1", "action": "a0", "attempt": "1", "task-name": "gpu.train",
        "app.kubernetes.io/managed-by": "flyte-build",
    }  # fmt: skip
    assert made(spec_of()) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "r1-a0-1-80e41b2a05", "namespace": "team", "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": 86400,
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
                },
                "spec": {
                    "restartPolicy": "Never",
                    "enableServiceLinks": False,
                    "automountServiceAccountToken": False,
                    "containers": [
                        {
                            "name": "primary",
                            "image": IMAGE,
                            "args": ["a0", "--run-name", "r1"],
                            "env": [{"name": "RUN_NAME", "value": "r1"}],
                            "resources": {
                                "requests": {"cpu": "1", "memory": "1Gi"},
                                "limits": {"cpu": "1", "memory": "1Gi"},
                            },
                            "terminationMessagePolicy": "FallbackToLogsOnError",
                        }
                    ],
                },
            },
        },
    }


def test_the_page_shows_what_is_made() -> None:
    """docs/kubernetes.md has this Job, beside that of Flyte's backend."""
    page = (Path(__file__).parents[3] / "docs" / "kubernetes.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S)
    (shown,) = [value for block in blocks for value in yaml.safe_load_all(block) if value["kind"] == "Job"]
    resources = flyte.Resources(cpu=4, memory="16Gi", gpu="A100:2", shm="auto")
    secrets = (SecretRef("key", "vendor", "KEY"), SecretRef("file", "vendor"))
    found = made(
        spec_of(resources=resources, interruptible=True), Place("team", queue="research"), secrets=secrets,
        timeout=3600.0, needs=Needs(("linux/amd64",)),
    )  # fmt: skip
    found["spec"]["template"]["spec"]["containers"][0]["env"] += service_of("run-r1", "a0")
    assert shown == found


def test_requests_and_limits_say_the_same_where_one_is_silent() -> None:
    asked = flyte.Resources(cpu=(1, 4), memory="2Gi", disk="10Gi")
    assert main_of(spec_of(resources=asked))["resources"] == {
        "requests": {"cpu": "1", "ephemeral-storage": "10Gi", "memory": "2Gi"},
        "limits": {"cpu": "4", "ephemeral-storage": "10Gi", "memory": "2Gi"},
    }
    with pytest.raises(Unplaceable, match=r"memory: 4Gi is requested, and the limit is 2Gi"):
        made(spec_of(resources=flyte.Resources(memory=("4Gi", "2Gi"))))
    place = Place("team", defaults={"cpu": "2", "memory": "3Gi"})
    assert main_of(spec_of(), place)["resources"]["limits"] == {"cpu": "2", "memory": "3Gi"}


def test_a_named_gpu_is_a_limit_an_affinity_and_a_toleration() -> None:
    pod = pod_of(spec_of(resources=flyte.Resources(gpu="A100:2")))
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert pod["containers"][0]["resources"]["requests"]["nvidia.com/gpu"] == "2"
    key, value = "k8s.amazonaws.com/accelerator", "nvidia-tesla-a100"
    assert expressions(pod) == [[{"key": key, "operator": "In", "values": [value]}]]
    assert pod["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"},
    ]


@pytest.mark.parametrize(
    ("gpu", "profile", "resource", "count"),
    [
        (2, "eks", "nvidia.com/gpu", "2"),
        (flyte.TPU("V5E", "2x4"), "gke", "google.com/tpu", "1"),
        ("MI300X:1", "gpu-feature-discovery", "amd.com/gpu", "1"),
        ("Trn1:16", "eks", "aws.amazon.com/neuron", "16"),
    ],
)
def test_any_accelerator_is_a_limit_under_its_clusters_name(gpu: Any, profile: str, resource: str, count: str) -> None:
    limits = main_of(spec_of(resources=flyte.Resources(gpu=gpu)), Place("t", PROFILES[profile]))["resources"]["limits"]
    assert limits == {"cpu": "1", "memory": "1Gi", resource: count}


def test_shared_memory_is_a_volume_of_its_size() -> None:
    pod = pod_of(spec_of(resources=flyte.Resources(shm="16Gi")))
    assert pod["volumes"] == [{"name": "flyte-shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}}]
    assert pod["containers"][0]["volumeMounts"] == [{"name": "flyte-shm", "mountPath": "/dev/shm"}]
    auto = pod_of(spec_of(resources=flyte.Resources(shm="auto")))
    assert auto["volumes"] == [{"name": "flyte-shm", "emptyDir": {"medium": "Memory"}}]


def test_secrets_are_variables_or_files_and_never_values() -> None:
    refs = (
        SecretRef("key", env="API_KEY"), SecretRef("token", "vendor", "TOKEN"),
        SecretRef("ca.pem"), SecretRef("id", "ssh"), SecretRef("known", "ssh"),
    )  # fmt: skip
    pod = pod_of(spec_of(), secrets=refs)
    main = pod["containers"][0]
    assert main["env"][1:] == [
        {"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "flyte-secrets", "key": "key"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "vendor", "key": "token"}}},
    ]
    (volume,) = pod["volumes"]
    assert [
        (s["secret"]["name"], [i["path"] for i in s["secret"]["items"]]) for s in volume["projected"]["sources"]
    ] == [
        ("flyte-secrets", ["ca.pem"]),
        ("ssh", ["ssh/id", "ssh/known"]),
    ]
    assert main["volumeMounts"] == [{"name": volume["name"], "mountPath": "/etc/flyte/secrets", "readOnly": True}]
    with pytest.raises(Unplaceable, match="'Vendor' cannot be a key of a Secret"):
        made(spec_of(), secrets=(SecretRef("key", "Vendor"),))


def test_deadlines_queues_accounts_and_owners() -> None:
    place = Place(
        "team", service_account="runner", pull_secrets=("pull",), queue="research", labels={"team": "ml"},
        annotations={"iam": "x"}, owner={"kind": "Job", "name": "driver", "uid": "1"},
    )  # fmt: skip
    found = made(spec_of(), place, timeout=90.2)
    pod = found["spec"]["template"]["spec"]
    assert pod["activeDeadlineSeconds"] == 91
    assert "activeDeadlineSeconds" not in found["spec"], "the Job's own takes the pod's log away"
    assert (pod["serviceAccountName"], pod["imagePullSecrets"]) == ("runner", [{"name": "pull"}])
    assert found["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    assert "suspend" not in found["spec"], "that is Kueue's to set"
    assert found["metadata"]["labels"]["team"] == "ml"
    assert found["spec"]["template"]["metadata"]["annotations"]["iam"] == "x"
    assert found["metadata"]["ownerReferences"] == [{"kind": "Job", "name": "driver", "uid": "1"}]
    assert made(spec_of(), place, queue="urgent")["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "urgent"
    with pytest.raises(Unplaceable, match=r"is for queue 'Mine_1', which can be no queue of a cluster"):
        made(spec_of(), queue="Mine_1")


def test_interruptible_tolerates_what_spot_nodes_are_tainted_with() -> None:
    spec = spec_of(interruptible=True)
    assert pod_of(spec, Place("t", PROFILES["gke"]))["tolerations"] == [
        {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
    ]


def test_an_image_without_a_digest_is_no_image() -> None:
    request = LaunchRequest("r", "a", 1, "t", "", (), {}, Path("/dev/null"), task_spec=spec_of())
    with pytest.raises(Unplaceable, match=r"expected the image of t by digest, found registry\.example/x:v1"):
        job(request, "registry.example/x:v1", PLACE)


# -- pod templates -------------------------------------------------------------------------------------


def template(*containers: V1Container, **spec: Any) -> flyte.PodTemplate:
    return flyte.PodTemplate(
        pod_spec=V1PodSpec(containers=[V1Container(name="primary"), *containers], **spec),
        labels={"cost": "ml"}, annotations={"note": "1"},
    )  # fmt: skip


def test_a_template_is_merged_whole() -> None:
    main = V1Container(
        name="primary",
        env=[V1EnvVar(name="OWN", value="1"), V1EnvVar(name="RUN_NAME", value="other")],
        resources=V1ResourceRequirements(limits={"smarter-devices/fuse": "1", "memory": "9Gi"}),
        ports=[V1ContainerPort(container_port=8080)],
    )
    side = V1Container(name="side", image=SIDE, ports=[V1ContainerPort(container_port=9000)])
    pod_template = flyte.PodTemplate(
        pod_spec=V1PodSpec(containers=[main, side], termination_grace_period_seconds=30, host_network=True),
        labels={"cost": "ml"}, annotations={"note": "1"},
    )  # fmt: skip
    found = made(spec_of(pod_template=pod_template, resources=flyte.Resources(memory="2Gi", gpu=1)))
    pod = found["spec"]["template"]["spec"]
    primary, beside = pod["containers"]
    assert (beside["name"], beside["image"], beside["ports"]) == ("side", SIDE, [{"containerPort": 9000}])
    assert (pod["terminationGracePeriodSeconds"], pod["hostNetwork"]) == (30, True)
    assert primary["ports"] == [{"containerPort": 8080}]
    assert primary["image"] == IMAGE
    assert [(v["name"], v["value"]) for v in primary["env"]] == [("OWN", "1"), ("RUN_NAME", "r1")]
    assert primary["resources"]["limits"] == {
        "cpu": "1", "memory": "9Gi", "nvidia.com/gpu": "1", "smarter-devices/fuse": "1",
    }  # fmt: skip
    assert primary["resources"]["requests"]["memory"] == "2Gi"
    labels, annotations = found["spec"]["template"]["metadata"]["labels"], found["spec"]["template"]["metadata"]
    assert labels["cost"] == "ml"
    assert labels["run"] == "r1"
    assert annotations["annotations"]["note"] == "1"


def test_every_alternative_of_an_affinity_needs_the_device() -> None:
    zones = [
        V1NodeSelectorTerm(match_expressions=[V1NodeSelectorRequirement(key="zone", operator="In", values=[z])])
        for z in "ab"
    ]
    affinity = V1Affinity(
        node_affinity=V1NodeAffinity(
            required_during_scheduling_ignored_during_execution=V1NodeSelector(node_selector_terms=zones)
        )
    )
    pod = pod_of(spec_of(pod_template=template(affinity=affinity), resources=flyte.Resources(gpu="T4:1")))
    assert [[e["key"] for e in term] for term in expressions(pod)] == [["zone", "k8s.amazonaws.com/accelerator"]] * 2


def test_a_timeout_of_the_sdk_is_the_pods() -> None:
    spec = spec_of()
    assert "activeDeadlineSeconds" not in pod_of(spec)
    assert pod_of(spec, timeout=datetime.timedelta(minutes=2).total_seconds())["activeDeadlineSeconds"] == 120
