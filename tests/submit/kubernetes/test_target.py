"""Targets of a project's settings: read whole, and every mistake told with where it is and what to write."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import InputError
from flyte_build.submit.kubernetes.access import RULES, ask, manifests, missing
from flyte_build.submit.kubernetes.pod import Place
from flyte_build.submit.kubernetes.profiles import Accelerator, Profile, Toleration
from flyte_build.submit.kubernetes.target import Target, read_target
from flyte_build.submit.kubernetes.vendors import PROFILES
from tests.support.apiserver import ApiServer

LEAST = 'namespace = "ml"\nstorage = "s3://bucket/runs"\n'
WHERE = "pyproject.toml: [tool.flyte-build.targets.prod]"


def read(text: str) -> Target:
    return read_target("prod", tomllib.loads(text), "pyproject.toml")


def test_the_least_that_a_target_says() -> None:
    assert read(LEAST) == Target("prod", Place("ml", PROFILES["eks"]), "s3://bucket/runs")


def test_all_that_a_target_may_say() -> None:
    found = read(
        LEAST
        + """
kind = "kubernetes"
context = "prod-admin"
kubeconfig = "~/.kube/prod"
registry = "registry.example/team"
service-account = "runner"
pull-secrets = ["pull"]
queue = "research"
secrets = "team-secrets"
defaults = { cpu = "500m" }
labels = { team = "ml" }
annotations = { iam = "x" }
api-access = true
storage-secret = "keys"
quotas = { "nvidia.com/gpu" = "8" }
driver-account = "runs"
unscheduled = "2h"
storage-options = { endpoint = "http://minio:9000" }

[profile]
base = "gpu-feature-discovery"
mig = "resource"
resources = { nvidia = "nvidia.com/gpu.shared" }
devices = { "nvidia-l4" = "OUR-L4", "H200" = ["A", "B"] }
device-labels = { gaudi = "ours/gaudi" }
tolerations = ["dedicated=gpu:NoExecute", "nvidia.com/gpu"]
spot = ["spot=true"]
shared = { "ours/shared" = "yes" }
"""
    )
    assert (found.context, found.kubeconfig, found.registry) == ("prod-admin", "~/.kube/prod", "registry.example/team")
    assert (found.unscheduled, found.options) == (7200.0, {"endpoint": "http://minio:9000"})
    place = found.place
    assert (place.service_account, place.pull_secrets, place.queue) == ("runner", ("pull",), "research")
    assert (place.secrets, place.defaults) == ("team-secrets", {"cpu": "500m", "memory": "1Gi"})
    assert (place.labels, place.annotations, place.api_access) == ({"team": "ml"}, {"iam": "x"}, True)
    assert place.quotas == {"nvidia.com/gpu": "8"}
    assert (place.storage_secret, found.driver_account) == ("keys", "runs")
    profile = place.profile
    assert profile.tolerations == (Toleration("dedicated", "gpu", "NoExecute"), Toleration("nvidia.com/gpu"))
    assert profile.spot == (Toleration("spot", "true"),)
    assert profile.place(Accelerator(1, "nvidia", "H200")).labels == (("nvidia.com/gpu.product", ("A", "B")),)
    assert profile.place(Accelerator(1, "nvidia", "nvidia-l4", "1g.5gb")).resource == "nvidia.com/mig-1g.5gb"
    assert profile.device_labels["gaudi"] == "ours/gaudi"
    assert profile.shared == (("ours/shared", ("yes",)),)


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ('storage = "s3://b"', "expected `namespace`, the namespace that pods are made in; found none", None),
        ('namespace = "ml"', "expected `storage`, where runs are kept, such as `s3://BUCKET/PREFIX`; found none", None),
        (f'{LEAST}kind = "slurm"', "kind: expected `kubernetes`, found 'slurm'", None),
        (f'{LEAST}namespce = "x"', "no such key: `namespce`", "did you mean `namespace`?"),
        (f'{LEAST}zzz = "x"', "no such key: `zzz`", "it may have annotations, "),
        ('namespace = "ML_x"\nstorage = "s3://b"', "namespace: expected a name that Kubernetes takes", None),
        (f"{LEAST}queue = 3", "queue: expected a name that Kubernetes takes", None),
        (f'{LEAST}unscheduled = "soon"', "unscheduled: expected a time such as `30m`, found 'soon'", None),
        (f"{LEAST}unscheduled = 30", "unscheduled: expected a time such as `30m`, found 30", None),
        (f'{LEAST}defaults = {{ cpu = "lots" }}', "defaults: expected a quantity", None),
        (f'{LEAST}quotas = {{ cpu = "lots" }}', "quotas: expected a quantity", None),
        (f"{LEAST}defaults = {{ cpu = 2 }}", "defaults: expected a table of texts", None),
        (f'{LEAST}pull-secrets = "pull"', "pull-secrets: expected a list, found 'pull'", None),
        (f'{LEAST}api-access = "yes"', "api-access: expected true or false, found 'yes'", None),
        (f'{LEAST}profile = "aks"', "profile: no cluster profile 'aks'; expected one of eks, gke, ", None),
        (
            f"{LEAST}profile = 3",
            "profile: expected one of eks, gke, gpu-feature-discovery, or a table with `base`",
            None,
        ),
        (f'{LEAST}profile = {{ mig = "label" }}', "profile: expected a text", None),
        (f'{LEAST}profile = {{ base = "eks", mig = "no" }}', "expected `mig` to be label, resource or product", None),
        (
            f'{LEAST}profile = {{ base = "eks", x = 1 }}',
            "mig, cuda-labels, tolerations, spot or shared in it, and no `x`",
            None,
        ),
        (f'{LEAST}profile = {{ base = "eks", resources = {{ gpu = "x" }} }}', "`resources` of nvidia, tpu, ", None),
        (f'{LEAST}profile = {{ base = "eks", spot = ["a:Never"] }}', "expected taints as KEY[=VALUE][:EFFECT]", None),
    ],
)
def test_a_mistake_is_told_with_where_it_is(text: str, said: str, hint: str | None) -> None:
    with pytest.raises(InputError) as e:
        read(text)
    assert e.value.message.startswith(WHERE)
    assert said in e.value.message
    assert hint is None or hint in str(e.value.hint)


@pytest.mark.parametrize("value", ["text", 3, [1], None])
def test_a_target_that_is_no_table(value: Any) -> None:
    with pytest.raises(InputError, match="expected a table, found"):
        read_target("prod", value, "pyproject.toml")


def test_an_administrator_is_asked_for_no_more_than_a_namespace() -> None:
    driver, account, role, binding, policy = manifests(read(f'{LEAST}service-account = "runner"'))
    assert {m["metadata"]["namespace"] for m in (driver, account, role, binding, policy)} == {"ml"}
    assert [(a["kind"], a["metadata"]["name"]) for a in (driver, account)] == [
        ("ServiceAccount", "flyte-build"), ("ServiceAccount", "runner"),
    ]  # fmt: skip
    assert role["kind"] == "Role"
    assert {(r["apiGroups"][0], r["resources"][0]): r["verbs"] for r in role["rules"]} == {
        ("batch", "jobs"): ["create", "get", "list", "watch", "delete", "patch"],
        ("", "pods"): ["get", "list", "watch", "create"],
        ("", "pods/log"): ["get"],
        ("", "events"): ["list", "watch"],
        ("", "secrets"): ["create", "get", "delete"],
        ("", "services"): ["create", "get", "delete"],
        ("networking.k8s.io", "networkpolicies"): ["create"],
        ("apps", "deployments"): ["create", "get", "delete"],
        ("jobset.x-k8s.io", "jobsets"): ["create", "get", "delete"],
        ("", "resourcequotas"): ["list"],
        ("", "podtemplates"): ["get"],
        ("kueue.x-k8s.io", "localqueues"): ["get"],
        ("kueue.x-k8s.io", "workloads"): ["list"],
    }
    # Tasks' own account may nothing: what they run is not ours.
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "flyte-build", "namespace": "ml"}]
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert not any("*" in part for r in role["rules"] for part in (*r["resources"], *r["verbs"], *r["apiGroups"]))


def test_people_are_granted_the_same_and_a_queue_is_theirs_to_ask_for() -> None:
    told = manifests(
        read(f'{LEAST}queue = "q"\ndriver-account = "d"'), users=["ada"], groups=["ml"], cluster_queue="cq"
    )
    binding = next(m for m in told if m["kind"] == "RoleBinding")
    assert [(s["kind"], s["name"]) for s in binding["subjects"]] == [
        ("ServiceAccount", "d"), ("User", "ada"), ("Group", "ml"),
    ]  # fmt: skip
    assert (told[-1]["kind"], told[-1]["metadata"]["name"], told[-1]["spec"]) == (
        "LocalQueue",
        "q",
        {"clusterQueue": "cq"},
    )
    assert [m["kind"] for m in manifests(read(LEAST), cluster_queue="cq")] == [
        "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy",
    ]  # fmt: skip


def test_every_right_is_asked_about_one_by_one(api: ApiServer) -> None:
    refused = {("create", "jobs", ""), ("create", "pods", ""), ("get", "pods", "log")}

    def review(method: str, kind: str, value: dict[str, Any]) -> dict[str, Any] | None:
        told = value.get("spec", {}).get("resourceAttributes")
        if told is None:
            return None
        assert told["namespace"] == "team"
        allowed = (told["verb"], told["resource"], told.get("subresource", "")) not in refused
        return {**value, "status": {"allowed": allowed}}

    api.answer = review
    found = ask(api.cluster())
    assert len(found) == sum(len(r.resources) * len(r.verbs) for r in RULES)
    assert {(a.verb, a.resource) for a in found if not a.allowed} == {
        ("create", "jobs"), ("create", "pods"), ("get", "pods/log"),
    }  # fmt: skip
    assert [(a.verb, a.resource, a.why) for a in missing(api.cluster())] == [
        ("create", "jobs", "attempts"), ("get", "pods/log", "what they print"),
    ]  # fmt: skip


def test_the_page_shows_a_cluster_with_words_of_its_own() -> None:
    """docs/kubernetes.md names every part of a profile that may be another."""
    page = (Path(__file__).parents[3] / "docs" / "kubernetes.md").read_text()
    (block,) = [b for b in re.findall(r"^```toml\n(.*?)^```", page, re.M | re.S) if "prod.profile]" in b]
    table = tomllib.loads(block)["tool"]["flyte-build"]["targets"]["prod"]
    profile = read_target("prod", {"namespace": "ml", "storage": "s3://b", **table}, "x").place.profile
    base = PROFILES["gpu-feature-discovery"]
    same = [f.name for f in dataclasses.fields(Profile) if getattr(profile, f.name) == getattr(base, f.name)]
    assert same == ["name", "resources", "unknown"], "a word that is the same again is there to be changed"
