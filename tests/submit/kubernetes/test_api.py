"""Requests to a cluster: what is sent again and what is not, how it is refused, and who one is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import urllib3

from flyte_build.kernel.errors import InputError
from flyte_build.submit.kubernetes.api import ApiError, Cluster, connect
from flyte_build.submit.kubernetes.refusals import TRIES
from tests.support.apiserver import ApiServer, Bad

JOBS = "batch/v1/jobs"


def value(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


def repeated(bad: Bad, times: int) -> Any:
    left = [times]

    def answer(method: str, kind: str, query: dict[str, str]) -> Bad | None:
        left[0] -= 1
        return bad if left[0] >= 0 else None

    return answer


def test_objects_are_made_read_listed_and_deleted(api: ApiServer) -> None:
    cluster = api.cluster()
    made = cluster.create(JOBS, value("a", run="r"))
    assert made["metadata"]["resourceVersion"] == "1"
    assert cluster.get(JOBS, "a") == made
    assert cluster.get(JOBS, "b") is None
    cluster.create(JOBS, value("b", run="s"))
    (page,) = cluster.pages(JOBS, {"labelSelector": "run=s"})
    assert [i["metadata"]["name"] for i in page["items"]] == ["b"]
    cluster.delete(JOBS, "a")
    cluster.delete(JOBS, "a")
    assert cluster.get(JOBS, "a") is None
    assert api.asked[0] == "POST /apis/batch/v1/namespaces/team/jobs"
    assert cluster.path("v1/pods", "x") == "/api/v1/namespaces/team/pods/x"


def test_a_long_list_comes_in_pages(api: ApiServer) -> None:
    for n in range(7):
        api.put(JOBS, value(f"j{n}"))
    pages = list(api.cluster().pages(JOBS, {}, limit=3))
    assert [len(p["items"]) for p in pages] == [3, 3, 1]


def test_a_second_create_says_that_it_is_there(api: ApiServer) -> None:
    cluster = api.cluster()
    cluster.create(JOBS, value("a"))
    with pytest.raises(ApiError) as e:
        cluster.create(JOBS, value("a"))
    assert (e.value.status, e.value.reason) == (409, "AlreadyExists")
    assert e.value.message == f'POST {api.url}/apis/batch/v1/namespaces/team/jobs: 409 "a" already exists'


@pytest.mark.parametrize("bad", [Bad(0), Bad(500), Bad(503), Bad(429, "TooManyRequests")])
def test_what_may_pass_is_sent_again(api: ApiServer, bad: Bad) -> None:
    waited: list[float] = []
    api.bad = repeated(bad, 3)
    api.cluster(sleep=waited.append).create(JOBS, value("a"))
    assert len(api.asked) == 4
    assert len(waited) == 3
    assert all(0 < a < 3 for a in waited)


def test_a_server_that_says_when_is_asked_then(api: ApiServer) -> None:
    waited: list[float] = []
    api.bad = repeated(Bad(429, "TooManyRequests", retry_after=7), 1)
    api.cluster(sleep=waited.append).get(JOBS, "a")
    assert 7 <= waited[0] < 8


def test_it_is_given_up_in_the_end(api: ApiServer) -> None:
    api.bad = repeated(Bad(503, "ServiceUnavailable", "etcd is away"), 100)
    with pytest.raises(ApiError, match="503 etcd is away"):
        api.cluster(sleep=lambda _: None).get(JOBS, "a")
    assert len(api.asked) == TRIES


@pytest.mark.parametrize(
    ("bad", "hint"),
    [
        (Bad(401, "Unauthorized"), "log in again"),
        (Bad(403, "Forbidden", "jobs is forbidden"), "target manifests"),
        (Bad(422, "Invalid", "spec: Invalid value"), None),
    ],
)
def test_a_refusal_is_said_once_and_with_a_way_out(api: ApiServer, bad: Bad, hint: str | None) -> None:
    api.bad = repeated(bad, 100)
    with pytest.raises(ApiError) as e:
        api.cluster().create(JOBS, value("a"))
    assert len(api.asked) == 1
    assert e.value.message.endswith(f"{bad.status} {bad.message}")
    assert (hint is None) is (e.value.hint is None)
    assert hint is None or hint in str(e.value.hint)


def test_nobody_at_home(api: ApiServer) -> None:
    cluster = api.cluster(sleep=lambda _: None)
    cluster.host = "http://127.0.0.1:9"
    with pytest.raises(ApiError, match="no answer") as e:
        cluster.get(JOBS, "a")
    assert (e.value.status, e.value.hint) == (0, "is the cluster up, and is this machine allowed to reach it?")


# -- who one is ----------------------------------------------------------------------------------------


def kubeconfig(path: Path, url: str, **user: Any) -> str:
    text = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "from-context"}},
            {"name": "bare", "context": {"cluster": "c", "user": "u"}},
        ],
    }
    path.write_text(json.dumps(text))
    return str(path)


def test_a_kubeconfig_says_where_and_who(api: ApiServer, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", api.url, token="t0ken")
    cluster = connect(kubeconfig=path)
    assert (cluster.host, cluster.namespace) == (api.url, "from-context")
    assert connect(kubeconfig=path, context="bare").namespace == "default"
    assert connect(kubeconfig=path, namespace="mine").namespace == "mine"
    assert cluster._credentials() == {"authorization": "Bearer t0ken"}
    cluster.namespace = "team"
    assert cluster.get(JOBS, "a") is None


def test_an_exec_plug_in_is_asked(api: ApiServer, tmp_path: Path) -> None:
    script = tmp_path / "login"
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "by-plug-in"},
    }  # fmt: skip
    script.write_text(f"#!{sys.executable}\nprint('''{json.dumps(credential)}''')\n")
    script.chmod(0o755)
    command = {
        "apiVersion": "client.authentication.k8s.io/v1", "command": str(script), "interactiveMode": "Never",
    }  # fmt: skip
    cluster = connect(kubeconfig=kubeconfig(tmp_path / "config", api.url, exec=command))
    assert cluster._credentials() == {"authorization": "Bearer by-plug-in"}


@pytest.mark.parametrize("text", ["", "{}", "[1", "not: a config"])
def test_a_kubeconfig_that_is_none_is_an_error_in_words(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(InputError, match=r"config cannot be used: "):
        connect(kubeconfig=str(path))
    with pytest.raises(InputError, match="cannot be used"):
        connect(kubeconfig=str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="cannot be used"):
        connect(kubeconfig=kubeconfig(tmp_path / "good", "http://x"), context="elsewhere")


def test_without_the_client_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)
    with pytest.raises(InputError) as e:
        connect()
    assert e.value.hint == "pip install 'flyte-build[kubernetes]'"


def test_a_server_below_a_path_and_one_behind_a_proxy(api: ApiServer) -> None:
    api.documents["/k8s/one/version"] = {"major": "1"}
    below = Cluster(f"{api.url}/k8s/one/", urllib3.PoolManager())
    assert below.request("GET", "/version", {"a": "b c"}) == {"major": "1"}
    behind = Cluster("http://cluster.invalid/k8s/one", urllib3.ProxyManager(api.url))
    assert behind.request("GET", "/version") == {"major": "1"}
    assert api.asked == ["GET /k8s/one/version?a=b+c", "GET http://cluster.invalid/k8s/one/version"]
