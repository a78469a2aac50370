"""What would keep a pod waiting for ever, found before anything is made; what may not be known is passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flyte_build.submit.action import LaunchRequest, SecretRef
from flyte_build.submit.kubernetes.api import ApiError
from flyte_build.submit.kubernetes.pod import Place
from flyte_build.submit.kubernetes.preflight import Problem, hopeless, preflight
from tests.support.apiserver import NAMESPACE, ApiServer, Bad

from .test_pod import DIGEST, IMAGE, made, spec_of

PLACE = Place(NAMESPACE, pull_secrets=("pull",))
REFS = (SecretRef("key", "vendor", "KEY"), SecretRef("file", "vendor"))


def job(**more: Any) -> dict[str, Any]:
    return made(spec_of(**more.pop("environment", {})), more.pop("place", Place(NAMESPACE)), **more)


def secret(api: ApiServer, name: str, **data: str) -> None:
    api.put("v1/secrets", {"metadata": {"name": name}, "data": data})


def node(api: ApiServer, name: str, **allocatable: str) -> None:
    have = {"cpu": "8", "memory": "32Gi", **{k.replace("gpu", "nvidia.com/gpu"): v for k, v in allocatable.items()}}
    api.put("v1/nodes", {"metadata": {"name": name}, "status": {"allocatable": have}})


def test_nothing_is_found_where_nothing_is_wrong_and_nothing_is_made(api: ApiServer) -> None:
    secret(api, "pull")
    secret(api, "vendor", key="eA==", file="eA==")
    node(api, "n1", gpu="4")
    before = dict(api.objects)
    assert preflight(api.cluster(), {"t": job(place=PLACE, secrets=REFS)}) == []
    assert api.objects == before
    assert [a for a in api.asked if a.startswith("POST")] == [f"POST /api/v1/namespaces/{NAMESPACE}/pods?dryRun=All"]


def test_secrets_and_their_keys(api: ApiServer) -> None:
    secret(api, "vendor", file="eA==")
    found = preflight(api.cluster(), {"t": job(place=PLACE, secrets=REFS)})
    assert found == [
        Problem(
            "t", "namespace team has no Secret pull",
            "kubectl -n team create secret generic pull --from-literal=KEY=…",
        ),
        Problem("t", "the Secret vendor of namespace team has no key key; it has file"),
    ]  # fmt: skip


def test_a_pod_that_the_server_would_not_admit(api: ApiServer) -> None:
    why = 'pods "x" is forbidden: error looking up service account team/nobodys: serviceaccount "nobodys" not found'
    api.bad = lambda method, kind, query: Bad(403, "Forbidden", why) if method == "POST" else None
    assert preflight(api.cluster(), {"t": job()}) == [Problem("t", why)]
    api.bad = lambda method, kind, query: Bad(422, "Invalid", "spec: Invalid value") if method == "POST" else None
    assert preflight(api.cluster(), {"t": job()}) == [Problem("t", "spec: Invalid value")]


def test_a_quota_that_is_used_up_is_waited_for_and_one_that_is_too_small_is_not(api: ApiServer) -> None:
    full = "exceeded quota: q, requested: requests.memory=1Gi, used: 9Gi, limited: 9Gi"
    api.bad = lambda method, kind, query: Bad(403, "Forbidden", full) if method == "POST" else None
    api.put("v1/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"requests.memory": "9Gi"}}})
    assert preflight(api.cluster(), {"t": job()}) == []
    hard = {"requests.memory": "512Mi", "cpu": "8", "limits.cpu": "500m", "count/jobs.batch": "0"}
    api.put("v1/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": hard}})
    scoped = {"metadata": {"name": "s"}, "spec": {"hard": {"cpu": "0"}, "scopes": ["BestEffort"]}}
    api.put("v1/resourcequotas", scoped)
    assert [p.message for p in preflight(api.cluster(), {"t": job()})] == [
        "the quota q allows 512Mi of requests.memory, and it asks for 1.0Gi",
        "the quota q allows 500m of limits.cpu, and it asks for 1",
        "the quota q allows 0 of count/jobs.batch, and it asks for 1",
    ]
    api.put("v1/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2", "memory": "2Gi"}}})
    assert preflight(api.cluster(), {"t": job()}, pods={"t": 2}) == []
    assert [p.message for p in preflight(api.cluster(), {"t": job()}, pods={"t": 3})] == [
        "the quota q allows 2 of pods, and it asks for 3",
        "the quota q allows 2Gi of memory, and it asks for 3.0Gi",
    ]


def test_a_node_that_never_comes(api: ApiServer) -> None:
    import flyte

    for number in range(3):
        node(api, f"n{number}", gpu="4")
    asked = job(environment={"resources": flyte.Resources(gpu=8)})
    api.page = 2
    (problem,) = preflight(api.cluster(), {"t": asked})
    assert problem.message == "none of 3 nodes could ever hold it: 3 with at most 4 of nvidia.com/gpu"
    assert sum("/nodes" in a for a in api.asked) == 2


def test_what_this_account_may_not_look_at_is_passed_over(api: ApiServer) -> None:
    def bad(method: str, kind: str, query: dict[str, str]) -> Bad:
        verb = "create" if method == "POST" else "list"
        return Bad(403, "Forbidden", f'{kind} is forbidden: User "me" cannot {verb} resource "{kind}"')

    api.bad = bad
    assert preflight(api.cluster(), {"t": job(place=PLACE, secrets=REFS)}) == []


def test_a_cluster_that_cannot_be_asked_is_an_error(api: ApiServer) -> None:
    api.bad = lambda method, kind, query: Bad(401, "Unauthorized", "Unauthorized")
    with pytest.raises(ApiError, match="401 Unauthorized"):
        preflight(api.cluster(), {"t": job()})


@pytest.mark.parametrize(
    ("served", "version"),
    [((), "v1beta1"), (("v1beta1",), "v1beta1"), (("v1beta1", "v1beta2"), "v1beta2"), (("v2", "v1"), "v2")],
)
def test_a_queue_that_admits_nothing(served: tuple[str, ...], version: str, api: ApiServer) -> None:
    def found(queue: str = "q") -> list[str]:
        return [p.message for p in preflight(api.cluster(), {"t": job(queue=queue)})]

    api.documents["/apis"] = {"groups": []}
    assert found() == ["queue `q` is set, and Kueue is not installed"]
    group = {"name": "kueue.x-k8s.io", "versions": [{"version": one} for one in served]}
    api.documents["/apis"] = {"groups": [group]}
    api.unserved = {f"kueue.x-k8s.io/{one}" for one in ("v1beta1", "v1beta2")} - {f"kueue.x-k8s.io/{version}"}
    assert found() == ["namespace team has no LocalQueue q"]
    kind = f"kueue.x-k8s.io/{version}/localqueues"
    api.put(kind, {"metadata": {"name": "q"}})
    assert found() == []
    api.put(kind, {"metadata": {"name": "q"}, "spec": {"stopPolicy": "Hold"}})
    assert found() == ["queue q admits nothing: it is stopped"]
    api.bad = lambda method, kind, query: Bad(403, "Forbidden") if kind.endswith("localqueues") else None
    assert found() == [], "who may not look waits"
    assert found("") == []


def test_what_can_be_no_pod_is_a_problem_like_any_other(api: ApiServer) -> None:
    def found(**more: Any) -> list[Problem]:
        request = LaunchRequest(
            "r1", "a0", 1, "gpu.train", IMAGE, ("a0",), {}, Path("/dev/null"), task_spec=spec_of(**more)
        )
        return hopeless(api.cluster(), [request], Place(NAMESPACE))

    assert found() == []
    (missing,) = found(pod_template="big")
    assert missing.message == "gpu.train names the pod template big, which namespace team has not"
    assert missing.hint == "`kubectl -n team get podtemplates` shows what it has"
    sidecar = {"name": "proxy", "image": "proxy:latest"}
    api.put("v1/podtemplates", {"metadata": {"name": "big"}, "template": {"spec": {"containers": [sidecar]}}})
    (tagged,) = found(pod_template="big")
    assert "takes container proxy from proxy:latest, expected one by digest" in tagged.message
    sidecar["image"] = f"proxy@{DIGEST}"
    api.put("v1/podtemplates", {"metadata": {"name": "big"}, "template": {"spec": {"containers": [sidecar]}}})
    assert found(pod_template="big") == []
    created = [a for a in api.asked if a.startswith("POST")]
    assert all("dryRun=All" in a for a in created)
