"""What the cluster is for: Jobs run, devices are counted, and what cannot go well is said as Kubernetes says it."""

from __future__ import annotations

import os
import signal

import httpx
import pytest

from tests.cluster.api import Api, Object, condition
from tests.cluster.build import build
from tests.cluster.cluster import Cluster
from tests.cluster.images import push_image
from tests.cluster.jobs import Space, job, over, pod
from tests.cluster.status import report

pytestmark = pytest.mark.integration


def waiting(found: Object) -> str:
    """Why the first container does not run yet."""
    statuses = found["status"].get("containerStatuses") or [{}]
    return str(statuses[0].get("state", {}).get("waiting", {}).get("reason", ""))


def test_every_part_is_well(cluster: Cluster, api: Api) -> None:
    found = report(cluster)
    assert found["healthy"], found
    assert {row["part"] for row in found["parts"]} >= {"apiserver", "etcd", "kubelet", "containerd", "s3", "gpus"}
    assert all(row["memory"] > 1 << 20 for row in found["parts"])
    minor = api.get("/version")["minor"]
    assert int(minor) >= 34


def test_starting_it_again_changes_nothing(cluster: Cluster) -> None:
    before = cluster.pids()
    cluster.up(say=print)
    assert cluster.pids() == before


def test_a_job_of_an_image_by_digest(cluster: Cluster, space: Space) -> None:
    program = build()["pod"].read_bytes()
    space.image = push_image(cluster.site.registry, "made/here", {"bin/hello": program}, ["/bin/hello", "print=hello"])
    assert space.image.startswith(f"{cluster.site.registry}/made/here@sha256:")
    assert space.log("hello", "env=HOSTNAME")[0] == "hello"


def test_an_exit_code_is_told(space: Space) -> None:
    space.api.create(space.jobs, job("bad", space.image, "exit=3"))
    failed = space.api.until(space.jobs, over, name="bad")
    assert condition(failed, "Failed")["reason"] == "BackoffLimitExceeded"
    (found,) = space.api.items(f"{space.pods}?labelSelector=job-name%3Dbad")
    assert found["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3


@pytest.mark.parametrize(
    ("device", "variable"), [("nvidia.com/gpu", "NVIDIA_VISIBLE_DEVICES"), ("amd.com/gpu", "ROCR_VISIBLE_DEVICES")]
)
def test_a_job_sees_the_gpu_it_asked_for(space: Space, device: str, variable: str) -> None:
    (line,) = space.log("gpu", f"env={variable}", devices={device: 1})
    name, _, numbers = line.partition("=")
    assert name == variable
    assert numbers in "0123"
    assert space.log("none", f"env={variable}") == [f"{variable} is not set"]


def test_more_gpus_than_there_are(space: Space) -> None:
    space.api.create(space.jobs, job("many", space.image, devices={"nvidia.com/gpu": 8}))
    found = space.api.until(
        space.pods, lambda p: condition(p, "PodScheduled").get("status") == "False", labels="job-name=many"
    )
    said = condition(found, "PodScheduled")
    assert said["reason"] == "Unschedulable"
    assert "1 Insufficient nvidia.com/gpu" in said["message"]


def test_a_digest_that_the_registry_lacks(cluster: Cluster, space: Space) -> None:
    image = f"{cluster.site.registry}/pod@sha256:{'0' * 64}"
    space.api.create(space.jobs, job("lost", image))
    found = space.api.until(space.pods, lambda p: waiting(p) == "ErrImagePull", labels="job-name=lost")
    assert "not found" in found["status"]["containerStatuses"][0]["state"]["waiting"]["message"]


def test_the_api_server_is_killed_and_comes_back(cluster: Cluster, space: Space) -> None:
    space.api.create(space.pods, pod("stays", space.image))
    before = space.api.until(space.pods, lambda p: p["status"]["phase"] == "Running", name="stays")
    killed = cluster.pids()["apiserver"]
    cluster.processes.stop("apiserver")
    with pytest.raises(httpx.TransportError):
        space.api.get("/version")
    assert not report(cluster)["healthy"]
    cluster.up(say=print)
    assert cluster.pids()["apiserver"] != killed
    assert space.log("after", "print=well") == ["well"]
    after = space.api.get(f"{space.pods}/stays")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0
    assert after["status"]["phase"] == "Running"


def test_the_node_is_killed_and_comes_back(cluster: Cluster, space: Space) -> None:
    """With the kubelet all of the node ends; the next one has its devices and its network again."""
    before = cluster.pids()
    os.kill(before["kubelet"], signal.SIGKILL)
    cluster.processes.gone("node")
    cluster.up(say=print)
    # What runs below a process is read while it changes: one look may miss a part.
    cluster.processes.wait("node", lambda: cluster.pids().get("kubelet", before["kubelet"]) != before["kubelet"])
    url = f"get={cluster.site.s3_endpoint}/health"
    devices, health = space.log("after", "env=NVIDIA_VISIBLE_DEVICES", url, devices={"nvidia.com/gpu": 4})
    assert sorted(devices.partition("=")[2].split(",")) == ["0", "1", "2", "3"]
    assert health == "200 OK"
