"""A target on the real cluster: what its manifests allow is what a check asks for, and a check leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flyte_build.settings import Settings, read_settings
from flyte_build.submit.kubernetes.api import connect
from flyte_build.workbench import target
from flyte_build.workbench.target_checks import Check, check_target
from flyte_build.workbench.targeting import manifests_of
from tests.cluster.cluster import Cluster
from tests.cluster.jobs import Space

pytestmark = pytest.mark.integration

PLACES = {"ServiceAccount": "v1/serviceaccounts", "NetworkPolicy": "networking.k8s.io/v1/networkpolicies"}


@pytest.fixture
def settings(cluster: Cluster, space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    store = cluster.store
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", store.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store.secret_access_key)
    options = f'{{ endpoint = "{store.endpoint}", region = "us-east-1", allow_http = "true" }}'
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.flyte-build.targets.test]\nkubeconfig = "{cluster.home}/kubeconfig"\nnamespace = "{space.name}"\n'
        f'storage = "s3://{store.bucket}/{space.name}"\nregistry = "{cluster.site.registry}/team"\n'
        f'service-account = "tasks"\nstorage-options = {options}\nprofile = "gpu-feature-discovery"\n'
    )
    return read_settings(tmp_path, {})


def lines(settings: Settings, image: str | None = None) -> dict[str, Check]:
    return {c.what: c for c in check_target(target("test", settings), settings, image=image).checks}


def test_a_target_is_tried_and_left_as_it_was(cluster: Cluster, space: Space, settings: Settings) -> None:
    client = connect(kubeconfig=f"{cluster.home}/kubeconfig", namespace=space.name)
    refused = lines(settings)["a pod pulls by digest"]
    assert refused.state == "failed", "the account of tasks is not there yet"
    assert 'serviceaccount "tasks" not found' in refused.said
    for value in manifests_of(target("test", settings)):
        client.create(PLACES.get(value["kind"], f"{value['apiVersion']}/{value['kind'].lower()}s"), value)
    found = lines(settings)
    assert [c for c in found.values() if c.state == "failed"] == []
    assert (
        found["a pod pulls by digest"].said
        == f"{cluster.site.registry}/team/flyte-build-check, from a node of the cluster"
    )
    assert found["accelerators"].said.startswith("4 nvidia.com/gpu on 1 node")
    assert found["API server"].said.startswith("Kubernetes v1.3")
    assert found["storage from here"].state == "ok"
    assert space.api.items(space.jobs) == []
    kept = [p["metadata"]["name"] for p in space.api.items(space.pods) if not p["metadata"].get("deletionTimestamp")]
    assert kept == []


def test_a_pod_writes_to_the_storage_with_the_drivers_image(
    cluster: Cluster, space: Space, settings: Settings, tmp_path: Path
) -> None:
    client = connect(kubeconfig=f"{cluster.home}/kubeconfig", namespace=space.name)
    for value in manifests_of(target("test", settings)):
        client.create(PLACES.get(value["kind"], f"{value['apiVersion']}/{value['kind'].lower()}s"), value)
    keys = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    client.create("v1/secrets", {"metadata": {"name": "storage"}, "stringData": keys})
    without = lines(settings, "driver")["storage from a pod"]
    assert without.state == "failed", "nobody gave it a login"
    assert without.said.startswith(f"s3://{cluster.store.bucket}/{space.name}: ")
    assert "storage-secret" in str(without.hint)
    (tmp_path / "pyproject.toml").write_text((tmp_path / "pyproject.toml").read_text() + 'storage-secret = "storage"\n')
    found = lines(read_settings(tmp_path, {}), "driver")["storage from a pod"]
    assert (found.state, found.said) == ("ok", f"written, read and removed in s3://{cluster.store.bucket}/{space.name}")


def test_a_registry_that_nodes_do_not_reach(cluster: Cluster, settings: Settings, space: Space) -> None:
    """The image is pushed to where this machine reaches it, and no node does."""
    client = connect(kubeconfig=f"{cluster.home}/kubeconfig", namespace=space.name)
    client.create("v1/serviceaccounts", {"metadata": {"name": "tasks"}})
    image = f"127.0.0.1:9/team/it@sha256:{'a' * 64}"
    found = lines(settings, image)["storage from a pod"]
    assert found.state == "failed"
    assert found.said.startswith(f"its image {image} cannot be pulled: ")
    assert space.api.items(space.jobs) == []
