"""Nodes that could never hold a pod, and why; those that could, were they empty, are never complained of."""

from __future__ import annotations

from typing import Any

import pytest

from flyte_build.submit.kubernetes.fit import misfit, misfit_of

Object = dict[str, Any]
GPU = "nvidia.com/gpu"
KEY = "k8s.amazonaws.com/accelerator"


def node(*taints: Object, labels: dict[str, str] | None = None, **allocatable: str) -> Object:
    have = {"cpu": "4", "memory": "16Gi", "pods": "110", **{k.replace("gpu", GPU): v for k, v in allocatable.items()}}
    return {"metadata": {"labels": labels or {}}, "spec": {"taints": list(taints)}, "status": {"allocatable": have}}


def pod(requests: dict[str, str] | None = None, **spec: Any) -> Object:
    return {"containers": [{"resources": {"requests": requests or {"cpu": "1", "memory": "1Gi"}}}], **spec}


def affinity(*terms: list[Object]) -> Object:
    required = {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def expression(key: str, operator: str, *values: str) -> Object:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"cpu": "4", "memory": "16Gi"}, None),
        ({"cpu": "4100m"}, "with at most 4 of cpu"),
        ({"memory": "16.5Gi"}, "with at most 16.0Gi of memory"),
        ({GPU: "4"}, None),
        ({GPU: "8"}, f"with at most 4 of {GPU}"),
        ({"amd.com/gpu": "1"}, "without amd.com/gpu"),
    ],
)
def test_what_a_node_has_in_all(asked: dict[str, str], said: str | None) -> None:
    assert misfit_of(pod(asked), node(gpu="4")) == said


def test_what_containers_ask_for_together_and_what_runs_before_them() -> None:
    def container(cpu: str, **more: str) -> Object:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    there = node()
    assert misfit_of({"containers": [container("2"), container("2")]}, there) is None
    assert misfit_of({"containers": [container("2"), container("2.5")]}, there) == "with at most 4 of cpu"
    assert (
        misfit_of({"containers": [container("4")], "initContainers": [container("4"), container("3")]}, there) is None
    )
    assert misfit_of({"containers": [container("1")], "initContainers": [container("5")]}, there) is not None
    stays = [container("1", restartPolicy="Always")]
    assert misfit_of({"containers": [container("4")], "initContainers": stays}, there) is not None


def test_a_limit_is_a_request_where_there_is_none() -> None:
    limited = {"containers": [{"resources": {"limits": {GPU: "8"}}}]}
    assert misfit_of(limited, node(gpu="4")) == f"with at most 4 of {GPU}"


@pytest.mark.parametrize(
    ("taint", "toleration", "good"),
    [
        (("gpu", "true", "NoSchedule"), {}, False),
        (("gpu", "true", "PreferNoSchedule"), {}, True),
        (("node.kubernetes.io/unreachable", "", "NoExecute"), {}, True),
        (("gpu", "true", "NoSchedule"), {"key": "gpu", "operator": "Exists"}, True),
        (("gpu", "true", "NoSchedule"), {"key": "gpu", "operator": "Equal", "value": "true"}, True),
        (("gpu", "true", "NoSchedule"), {"key": "gpu", "value": "false"}, False),
        (("gpu", "true", "NoSchedule"), {"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        (("gpu", "true", "NoExecute"), {"operator": "Exists"}, True),
        (("gpu", "", "NoSchedule"), {"key": "gpu"}, True),
    ],
)
def test_taints(taint: tuple[str, str, str], toleration: Object, good: bool) -> None:
    key, value, effect = taint
    there = node({"key": key, "value": value, "effect": effect})
    found = misfit_of(pod(tolerations=[toleration] if toleration else []), there)
    assert (found is None) is good
    assert good or found == f"tainted {key}={value}:{effect}"


@pytest.mark.parametrize(
    ("wanted", "good"),
    [
        (expression("zone", "In", "a", "b"), True),
        (expression("zone", "In", "b"), False),
        (expression("zone", "NotIn", "b"), True),
        (expression("zone", "NotIn", "a"), False),
        (expression("zone", "Exists"), True),
        (expression("other", "Exists"), False),
        (expression("other", "DoesNotExist"), True),
        (expression("cores", "Gt", "7"), True),
        (expression("cores", "Gt", "8"), False),
        (expression("cores", "Lt", "9"), True),
        (expression("zone", "Lt", "9"), False),
    ],
)
def test_every_operator_of_an_affinity(wanted: Object, good: bool) -> None:
    there = node(labels={"zone": "a", "cores": "8"})
    assert (misfit_of(pod(affinity=affinity([wanted])), there) is None) is good


def test_any_term_will_do_and_all_of_its_expressions_must() -> None:
    there = node(labels={"zone": "a", "gpu": "t4"})
    zone, other, t4 = expression("zone", "In", "a"), expression("zone", "In", "b"), expression("gpu", "In", "t4")
    assert misfit_of(pod(affinity=affinity([other], [zone, t4])), there) is None
    found = misfit_of(pod(affinity=affinity([other, t4], [expression("gpu", "In", "h100")])), there)
    assert found == "labelled zone=a (asked for: b)"


def test_a_selector() -> None:
    assert misfit_of(pod(nodeSelector={"pool": "ml"}), node(labels={"pool": "ml"})) is None
    assert misfit_of(pod(nodeSelector={"pool": "ml"}), node()) == "without the label pool (asked for: ml)"


def test_all_nodes_are_told_with_their_reasons_the_most_frequent_first() -> None:
    asked = pod({GPU: "8"}, affinity=affinity([expression(KEY, "In", "nvidia-tesla-a100")]))
    nodes = [
        node(), node(), node(labels={KEY: "nvidia-tesla-t4"}),
        node(labels={KEY: "nvidia-tesla-a100"}, gpu="4"),
    ]  # fmt: skip
    assert misfit(asked, nodes) == (
        "none of 4 nodes could ever hold it: "
        f"2 without the label {KEY} (asked for: nvidia-tesla-a100), "
        f"1 labelled {KEY}=nvidia-tesla-t4 (asked for: nvidia-tesla-a100), "
        f"1 with at most 4 of {GPU}"
    )
    assert misfit(asked, [*nodes, node(labels={KEY: "nvidia-tesla-a100"}, gpu="8")]) is None
    assert misfit(asked, []) is None, "it may grow on demand"
