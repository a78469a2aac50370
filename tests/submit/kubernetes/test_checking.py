"""What is said of a target, line by line, by an API of our own: each question good, bad, and not to be known."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from flyte_build.submit.kubernetes.checking import Check, check_cluster, check_storage, pull_logins
from flyte_build.submit.kubernetes.devices import Devices, devices_of
from flyte_build.submit.kubernetes.pod import Place
from flyte_build.submit.kubernetes.target import Target
from flyte_build.submit.kubernetes.vendors import PROFILES
from tests.support.apiserver import NAMESPACE, ApiServer, Bad

A100 = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB"}


def target(**more: Any) -> Target:
    return Target("prod", Place(NAMESPACE, **more), "s3://bucket/runs")


@pytest.fixture(autouse=True)
def version(api: ApiServer) -> None:
    api.documents["/version"] = {"major": "1", "minor": "34", "gitVersion": "v1.34.4"}
    api.documents["/apis"] = {"groups": [{"name": "batch"}]}
    api.answer = allow(())


def allow(refused: tuple[tuple[str, str], ...]) -> Any:
    def answer(method: str, kind: str, value: dict[str, Any]) -> dict[str, Any] | None:
        told = value.get("spec", {}).get("resourceAttributes")
        return told and {**value, "status": {"allowed": (told["verb"], told["resource"]) not in refused}}

    return answer


def node(api: ApiServer, name: str, labels: dict[str, str], **allocatable: str) -> None:
    have = {k.replace("__", "/").replace("_", "."): v for k, v in allocatable.items()}
    api.put("v1/nodes", {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": have}})


def lines(api: ApiServer, meant: Target) -> dict[str, Check]:
    """The first of each: of what is good to have, too, there may be another line."""
    found: dict[str, Check] = {}
    for check in check_cluster(api.cluster(sleep=lambda s: None), meant):
        found.setdefault(check.what, check)
    return found


def test_all_is_well_and_nothing_is_made(api: ApiServer) -> None:
    node(api, "n1", A100, nvidia_com__gpu="8")
    found = lines(api, target(profile=PROFILES["gpu-feature-discovery"]))
    assert {c.state for c in found.values()} == {"ok", "untried"}
    assert [w for w, c in found.items() if c.state == "untried"] == ["Kueue", "JobSet"]
    assert found["API server"].said == f"Kubernetes v1.34.4 at {api.url}"
    assert found["accelerators"].said == "8 nvidia.com/gpu on 1 node (NVIDIA-A100-SXM4-40GB)"
    assert found["may use jobs"].said == "create, get, list, watch, delete (attempts)"
    assert found[f"namespace {NAMESPACE}"] == Check(f"namespace {NAMESPACE}", "ok", "takes Jobs")
    assert set(api.objects) == {"v1/nodes"}, "it was only asked"


def test_a_server_that_does_not_answer_is_the_only_line(api: ApiServer) -> None:
    api.bad = lambda method, kind, query: Bad(0)
    (only,) = check_cluster(api.cluster(sleep=lambda s: None), target())
    assert (only.what, only.state) == ("API server", "failed")
    assert "no answer" in only.said
    assert only.hint == "is the cluster up, and is this machine allowed to reach it?"


def test_an_old_cluster_is_warned_of(api: ApiServer) -> None:
    api.documents["/version"] = {"major": "1", "minor": "27+", "gitVersion": "v1.27.9-eks"}
    assert lines(api, target())["API server"].state == "warning"


def test_what_may_not_be_done_is_said_with_who_can_grant_it(api: ApiServer) -> None:
    api.answer = allow((("create", "jobs"), ("watch", "jobs"), ("list", "resourcequotas")))
    found = lines(api, target())
    assert found["may use jobs"].state == "failed"
    assert found["may use jobs"].said == "may not create, watch jobs (attempts)"
    assert "`flyte-build target manifests prod` prints" in str(found["may use jobs"].hint)
    assert found["may use resourcequotas"].state == "warning"


def test_a_namespace_that_is_not_there(api: ApiServer) -> None:
    def gone(method: str, kind: str, query: dict[str, str]) -> Bad | None:
        return (
            Bad(404, "NotFound", 'namespaces "team" not found')
            if method == "POST" and kind == "batch/v1/jobs"
            else None
        )

    api.bad = gone
    found = lines(api, target())[f"namespace {NAMESPACE}"]
    assert (found.state, found.hint) == ("failed", "kubectl create namespace team")


def logins(**auths: Any) -> dict[str, Any]:
    text = base64.b64encode(json.dumps({"auths": auths}).encode()).decode()
    return {"metadata": {"name": "pull"}, "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": text}}


def test_pull_secrets(api: ApiServer) -> None:
    meant = target(pull_secrets=("pull",))
    missing = lines(api, meant)["pull secret pull"]
    assert (missing.state, missing.said) == ("failed", "namespace team has no Secret pull")
    assert str(missing.hint).startswith("kubectl -n team create secret docker-registry pull ")
    api.put("v1/secrets", {"metadata": {"name": "pull"}, "type": "Opaque", "data": {"x": "eA=="}})
    assert lines(api, meant)["pull secret pull"].said == "it is of type Opaque and holds no logins of registries"
    api.put("v1/secrets", logins(**{"https://registry.example": {"auth": "eDp5"}}))
    assert lines(api, meant)["pull secret pull"].said == "logins for registry.example"
    api.bad = lambda method, kind, query: Bad(403, "Forbidden") if kind == "v1/secrets" else None
    assert lines(api, meant)["pull secret pull"].state == "untried"


@pytest.mark.parametrize("data", [{}, {".dockerconfigjson": "%"}, {".dockerconfigjson": "W10="}, None])
def test_what_holds_no_logins(data: Any) -> None:
    assert pull_logins({"data": data}) == {}


def test_nodes_that_tell_nothing(api: ApiServer) -> None:
    assert lines(api, target())["accelerators"].said == "there are no nodes now"
    node(api, "n1", {}, cpu="8", nvidia_com__gpu="0")
    assert lines(api, target())["accelerators"].said.startswith("none of 1 nodes offers amd.com/gpu, aws.amazon.com/")
    node(api, "n1", {}, nvidia_com__gpu="4")
    found = lines(api, target())["accelerators"]
    assert (found.state, found.said) == ("warning", "4 nvidia.com/gpu on 1 node, without k8s.amazonaws.com/accelerator")
    assert 'is `profile = "eks"` right?' in str(found.hint)
    api.bad = lambda method, kind, query: Bad(403, "Forbidden") if kind == "v1/nodes" else None
    assert lines(api, target())["accelerators"].state == "untried"


def test_devices_are_counted_by_what_their_nodes_say() -> None:
    def one(labels: dict[str, str], **have: str) -> dict[str, Any]:
        return {"metadata": {"labels": labels}, "status": {"allocatable": {"cpu": "8", **have}}}

    nodes = [
        one(A100, **{"nvidia.com/gpu": "8"}), one(A100, **{"nvidia.com/gpu": "8"}),
        one({}, **{"nvidia.com/gpu": "odd"}),
        one(A100, **{"nvidia.com/mig-1g.5gb": "7"}), one({}, **{"habana.ai/gaudi": "2"}), {"metadata": {}},
    ]  # fmt: skip
    assert devices_of(nodes, PROFILES["gpu-feature-discovery"]) == (
        Devices("nvidia.com/gpu", 16, 2, "nvidia.com/gpu.product", "NVIDIA-A100-SXM4-40GB"),
        Devices("nvidia.com/mig-1g.5gb", 7, 1, "nvidia.com/gpu.product", "NVIDIA-A100-SXM4-40GB"),
        Devices("habana.ai/gaudi", 2, 1),
    )
    assert str(Devices("habana.ai/gaudi", 2, 1)) == "2 habana.ai/gaudi on 1 node"


QUEUES = "kueue.x-k8s.io/v1beta1/localqueues"


def test_a_queue_has_to_be_there_and_to_admit(api: ApiServer) -> None:
    meant = target(queue="q")
    assert lines(api, meant)["Kueue"].said == "queue `q` is set, and Kueue is not installed"
    api.documents["/apis"] = {"groups": [{"name": "kueue.x-k8s.io"}, {"name": "jobset.x-k8s.io"}]}
    found = lines(api, meant)
    assert found["JobSet"] == Check("JobSet", "ok", "installed")
    assert found["Kueue"].said == "namespace team has no LocalQueue q"
    assert found["Kueue"].hint == "`kubectl -n team get localqueues` shows those it has"
    queue = {"metadata": {"name": "q"}, "spec": {"clusterQueue": "cq"}}
    api.put(QUEUES, queue)
    assert lines(api, meant)["Kueue"] == Check("Kueue", "ok", "queue q admits")
    stopped = {"type": "Active", "status": "False", "reason": "ClusterQueueDoesNotExist", "message": "no cq"}
    api.put(QUEUES, {**queue, "status": {"conditions": [stopped]}})
    assert lines(api, meant)["Kueue"] == Check(
        "Kueue", "failed", "queue q admits nothing: no cq", "ask whoever looks after its ClusterQueue"
    )
    api.bad = lambda method, kind, query: Bad(403, "Forbidden") if kind == QUEUES else None
    assert lines(api, meant)["Kueue"].state == "untried"
    assert lines(api, target())["Kueue"] == Check("Kueue", "ok", "installed")


def test_storage_is_written_read_and_left_as_it_was(tmp_path: Any) -> None:
    (tmp_path / "runs").mkdir()
    meant = Target("prod", Place(NAMESPACE), f"file://{tmp_path}/runs")
    assert check_storage(meant) == Check("storage from here", "ok", f"written, read and removed in {meant.storage}")
    assert list((tmp_path / "runs").iterdir()) == []
    broken = check_storage(Target("prod", Place(NAMESPACE), f"file://{tmp_path}/file"))
    (tmp_path / "file").write_text("")
    assert check_storage(Target("prod", Place(NAMESPACE), f"file://{tmp_path}/file")).state == "failed", broken
    assert "expected s3://" in str(check_storage(Target("prod", Place(NAMESPACE), "ftp://x")).hint)
