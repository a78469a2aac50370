"""What a pod's variables are: expansion, the downward API, ConfigMaps and Secrets."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from flyte_build.submit.kubernetes.errors import Unplaceable
from flyte_build.submit.pods.facts import PodFacts, expand
from flyte_build.submit.pods.given import Given, Shelf
from flyte_build.submit.pods.variables import variables
from flyte_build.submit.secrets import MissingSecret

FACTS = PodFacts(
    name="r-a0-1",
    namespace="tests-development",
    uid="u",
    labels={"team": "x", "run": "r"},
    annotations={},
    node="here",
    resources={"main": {"limits": {"cpu": "1500m", "memory": "350Mi"}, "requests": {"cpu": "250m"}}},
    machine={"cpu": Decimal(8), "memory": Decimal(1 << 34)},
)
GIVEN = Given(Shelf({}, {"conf": {"MODE": "fast", "LEVEL": "1"}}), {"MY_API_TOKEN": "t", "API_TLS_CRT": "pem"})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $(", "$A ${A} $("),
        ("$()", "$()"),
    ],
)
def test_expansion_is_as_kubernetes_has_it(text: str, value: str) -> None:
    assert expand(text, {"A": "1"}) == value


def test_variables_come_one_after_the_other() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "A", "value": "$(B)"},
        {"name": "B", "value": "2"},
        {"name": "C", "value": "$(A)$(B)$(P_MODE)"},
        {"name": "B", "value": "again $(B)"},
        {"name": "EMPTY"},
    ]
    container = {"name": "main", "envFrom": [{"prefix": "P_", "configMapRef": {"name": "conf"}}], "env": rows}
    assert variables(container, FACTS, GIVEN) == {
        "P_MODE": "fast",
        "P_LEVEL": "1",
        "A": "$(B)",
        "B": "again 2",
        "C": "$(B)2fast",
        "EMPTY": "",
    }


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ({"fieldRef": {"fieldPath": "metadata.name"}}, "r-a0-1"),
        ({"fieldRef": {"fieldPath": "metadata.namespace"}}, "tests-development"),
        ({"fieldRef": {"fieldPath": "metadata.labels['team']"}}, "x"),
        ({"fieldRef": {"fieldPath": "metadata.annotations['none']"}}, ""),
        ({"fieldRef": {"fieldPath": "status.podIP"}}, "127.0.0.1"),
        ({"fieldRef": {"fieldPath": "spec.nodeName"}}, "here"),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "2"),
        ({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}, "1500"),
        ({"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}, "250"),
        ({"resourceFieldRef": {"resource": "limits.memory"}}, "367001600"),
        ({"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}, "350"),
        ({"resourceFieldRef": {"resource": "limits.ephemeral-storage"}}, "0"),
        ({"secretKeyRef": {"name": "my-api", "key": "token"}}, "t"),
        ({"secretKeyRef": {"name": "api", "key": "tls.crt"}}, "pem"),
        ({"configMapKeyRef": {"name": "conf", "key": "MODE"}}, "fast"),
    ],
)
def test_what_a_variable_is_taken_from(source: dict[str, Any], value: str) -> None:
    assert variables({"name": "main", "env": [{"name": "V", "valueFrom": source}]}, FACTS, GIVEN) == {"V": value}


@pytest.mark.parametrize(
    "source",
    [
        {"secretKeyRef": {"name": "api", "key": "gone", "optional": True}},
        {"configMapKeyRef": {"name": "gone", "key": "x", "optional": True}},
        {"configMapKeyRef": {"name": "conf", "key": "gone", "optional": True}},
    ],
)
def test_what_is_optional_need_not_be_there(source: dict[str, Any]) -> None:
    assert variables({"name": "main", "env": [{"name": "V", "valueFrom": source}]}, FACTS, GIVEN) == {}


@pytest.mark.parametrize(
    ("container", "says"),
    [
        ({"env": [{"name": "V", "valueFrom": {"fieldRef": {"fieldPath": "spec.color"}}}]}, "the field spec.color"),
        (
            {"env": [{"name": "V", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "k"}}}]},
            "the ConfigMap none, which is not here",
        ),
        (
            {"env": [{"name": "V", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "k"}}}]},
            "key k of the ConfigMap conf",
        ),
        ({"envFrom": [{"secretRef": {"name": "api"}}]}, "all of the Secret api"),
        ({"env": [{"name": "V", "valueFrom": {"fileKeyRef": {}}}]}, "from fileKeyRef"),
        (
            {"env": [{"name": "V", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "x"}}}]},
            "expected a quantity",
        ),
    ],
)
def test_what_is_not_there_is_named(container: dict[str, Any], says: str) -> None:
    with pytest.raises(Unplaceable, match=says):
        variables({"name": "main", **container}, FACTS, GIVEN)


def test_a_secret_that_is_not_set_names_its_variable() -> None:
    row = {"name": "V", "valueFrom": {"secretKeyRef": {"name": "my-db", "key": "pass.word"}}}
    with pytest.raises(MissingSecret, match=r"environment variable MY_DB_PASS_WORD"):
        variables({"name": "main", "env": [row]}, FACTS, GIVEN)
