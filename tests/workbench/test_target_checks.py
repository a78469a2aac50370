"""A target tried out against an API server, a registry and a storage of our own: the lines, and what they come to."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import InputError, RegistryError, RunError
from flyte_build.registry import Reference, Registry
from flyte_build.settings import Settings, read_settings
from flyte_build.workbench import target
from flyte_build.workbench.probe_image import push_probe_image
from flyte_build.workbench.pull_logins import refuse_pull_logins
from flyte_build.workbench.target_checks import Check, Checked, check_target
from tests.support.apiserver import NAMESPACE, ApiServer, Bad, serving
from tests.support.kubeconfig import write_kubeconfig
from tests.support.registry import RegistryServer

DIGEST = "sha256:ec34760e165de34dd73592f84670493635b359f261d5ae2718747ed41046cc4a"


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with serving() as api:
        api.documents["/version"] = {"major": "1", "minor": "34", "gitVersion": "v1.34.4"}
        api.documents["/apis"] = {"groups": []}
        api.answer = allowed
        yield api


def allowed(method: str, kind: str, value: dict[str, Any]) -> dict[str, Any] | None:
    return {**value, "status": {"allowed": True}} if kind.endswith("selfsubjectaccessreviews") else None


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer(auth="basic") as server:
        yield server


@pytest.fixture
def project(tmp_path: Path, api: ApiServer, server: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYTE_BUILD_REGISTRY_USER", server.user)
    monkeypatch.setenv("FLYTE_BUILD_REGISTRY_PASSWORD", server.password)
    (tmp_path / "runs").mkdir()
    write_kubeconfig(tmp_path / "kube", api.url)
    return tmp_path


def settings(project: Path, server: RegistryServer, more: str = "") -> Settings:
    (project / "pyproject.toml").write_text(
        f'[tool.flyte-build.targets.prod]\nnamespace = "{NAMESPACE}"\nstorage = "file://{project}/runs"\n'
        f'kubeconfig = "kube"\nregistry = "{server.host}/team"\n{more}'
    )
    return read_settings(project, {})


def checked(project: Path, server: RegistryServer, more: str = "", **how: Any) -> dict[str, Check]:
    said = settings(project, server, more)
    heard: list[Check] = []
    found = check_target(target("prod", said), said, heard=heard.append, **how)
    assert tuple(heard) == found.checks
    return {check.what: check for check in found.checks}


def test_without_pods_all_that_can_be_asked_is(project: Path, server: RegistryServer) -> None:
    found = checked(project, server, pods=False)
    assert {c.state for c in found.values()} == {"ok", "warning", "untried"}
    assert found["registry from here"].said == f"pushed to {server.host}/team/flyte-build-check"
    assert found["storage from here"].state == "ok"
    assert found["storage from a pod"].state == "untried"
    assert "a pod pulls by digest" not in found
    assert list((project / "runs").iterdir()) == []


def test_the_probes_image_is_the_same_from_everybody(project: Path, server: RegistryServer) -> None:
    with Registry(home=server.host) as registry:
        first = push_probe_image(registry, f"{server.host}/team")
        sent = server.count("PUT", "session")
        assert push_probe_image(registry, f"{server.host}/team") == first
        assert server.count("PUT", "session") == sent, "nothing is sent twice"
        found = registry.manifest(first)
    assert found is not None
    assert [m["platform"]["architecture"] for m in found.json["manifests"]] == ["amd64", "arm64"]
    assert first.digest == DIGEST


def test_a_registry_that_refuses_and_one_that_is_not_set(
    project: Path, server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYTE_BUILD_REGISTRY_PASSWORD", "wrong")
    found = checked(project, server, pods=False)["registry from here"]
    assert found.state == "failed"
    assert "401" in found.said
    said = settings(project, server)
    (project / "pyproject.toml").write_text((project / "pyproject.toml").read_text().replace("registry =", "#"))
    said = read_settings(project, {})
    lines = {c.what: c for c in check_target(target("prod", said), said, pods=False).checks}
    assert lines["registry from here"].said == "no registry is set"


def pull_secret(api: ApiServer, host: str, user: str, password: str) -> None:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    text = base64.b64encode(json.dumps({"auths": {host: {"auth": auth}}}).encode()).decode()
    api.put("v1/secrets", {"metadata": {"name": "pull"}, "data": {".dockerconfigjson": text}})


def test_a_run_is_refused_whose_images_no_node_could_pull(
    project: Path, server: RegistryServer, api: ApiServer
) -> None:
    said = settings(project, server, 'pull-secrets = ["pull"]\n')
    prod, cluster = target("prod", said), api.cluster()
    with Registry(home=server.host) as registry:
        image = str(push_probe_image(registry, f"{server.host}/team"))

    def refused() -> None:
        refuse_pull_logins(cluster, prod, said, [image, image])

    refused()  # what is not there is said by the preflight
    pull_secret(api, server.host, server.user, "old")
    with pytest.raises(RunError, match=r"does not accept the login of the pull secret pull: .*401") as e:
        refused()
    assert "old" not in e.value.message
    assert str(e.value.hint).startswith("renew it (`kubectl -n team create secret docker-registry pull")
    pull_secret(api, server.host, server.user, server.password)
    refused()
    pull_secret(api, "other.example", server.user, "x")
    refused()  # nodes may have a login of their own
    api.bad = lambda method, kind, query: Bad(403, "Forbidden") if kind == "v1/secrets" else None
    refused()


def test_the_login_that_nodes_pull_with_is_tried(project: Path, server: RegistryServer, api: ApiServer) -> None:
    more = 'pull-secrets = ["pull"]\n'
    pull_secret(api, server.host, server.user, server.password)
    assert checked(project, server, more, pods=False)["login of pull"] == Check(
        "login of pull", "ok", f"accepted by {server.host}"
    )
    pull_secret(api, server.host, server.user, "old")
    refused = checked(project, server, more, pods=False)["login of pull"]
    assert refused.state == "failed"
    assert "old" not in refused.said
    pull_secret(api, "other.example", server.user, "x")
    assert checked(project, server, more, pods=False)["login of pull"].said == f"it has no login for {server.host}"


def test_a_pod_tries_both_and_the_end_is_one_word(project: Path, server: RegistryServer, api: ApiServer) -> None:
    def make(method: str, kind: str, query: dict[str, str]) -> Bad | None:
        for name in api.objects.get("batch/v1/jobs", {}):
            if kind == "v1/pods" and not api.objects.get("v1/pods"):
                status = [{"state": {"terminated": {"exitCode": 128, "reason": "StartError", "message": "no program"}}}]
                api.pod(name, "Failed", containerStatuses=status)
        return None

    api.bad = make
    image = f"{server.host}/team/it@sha256:{'a' * 64}"
    found = checked(project, server, image=image)
    assert found["a pod pulls by digest"].state == "ok"
    assert found["storage from a pod"].said == f"{image} has no python"
    said = settings(project, server)
    every = check_target(target("prod", said), said, image=image)
    assert not every.good
    with pytest.raises(RunError, match="target prod is not ready for runs: storage from a pod"):
        every.refuse()
    assert every.to_json()["checks"][-1]["state"] == "failed"
    assert "storage from a pod" in str(every)
    assert api.objects["batch/v1/jobs"] == {}


def test_the_drivers_image_can_be_what_a_pod_tries_with(
    project: Path, server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Settings] = []

    def refused(settings: Settings, reporter: object) -> str:
        asked.append(settings)
        raise RegistryError("no room", hint="make some")

    monkeypatch.setattr("flyte_build.workbench.driver_image.driver_reference", refused)
    monkeypatch.setattr("flyte_build.workbench.target_checks.probe_pull", lambda *given: Check("pull", "ok", ""))
    found = checked(project, server, image="driver")["storage from a pod"]
    assert (found.state, found.said, found.hint) == ("failed", "no room", "make some")
    assert [s.registry for s in asked] == [f"{server.host}/team"], "where the cluster pulls from"


def test_a_cluster_that_is_not_reached_leaves_the_rest(
    project: Path, server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyte_build.submit.kubernetes.api.pause", lambda attempt, failure: 0.0)
    found = checked(project, server, 'context = "other"\n')
    assert found["API server"].state == "failed"
    assert found["registry from here"].state == "ok"
    assert "storage from a pod" not in found


def test_an_image_without_a_digest_is_refused(project: Path, server: RegistryServer) -> None:
    with pytest.raises(InputError, match=r"expected an image by digest, found x\.example/it:v1"):
        checked(project, server, image="x.example/it:v1")


def test_all_good_is_no_error(project: Path, server: RegistryServer) -> None:
    meant = target("prod", settings(project, server))
    Checked(meant, (Check("x", "warning", "y"),)).refuse()
    assert Reference.parse(f"{server.host}/x").host == server.host
