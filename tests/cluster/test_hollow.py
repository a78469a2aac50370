"""Many nodes: a thousand that only say that they run what they are given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.api import Api, condition
from tests.cluster.cluster import Cluster
from tests.cluster.jobs import Space, job, over

pytestmark = pytest.mark.integration

NODES, JOBS = 1000, 200
THERE: dict[str, Any] = {"nodeSelector": {"hollow": "true"}, "tolerations": [{"key": "hollow", "operator": "Exists"}]}


@pytest.fixture(scope="module")
def _nodes(cluster: Cluster, interrupted: list[object]) -> Iterator[None]:
    cluster.hollow(NODES, {"nvidia.com/gpu": 8})
    yield
    if not interrupted:
        cluster.hollow(0, {})


def hollow_job(name: str, image: str, gpus: int = 8, **notes: str) -> dict[str, Any]:
    body = job(name, image, devices={"nvidia.com/gpu": gpus}, **THERE)
    body["spec"]["template"]["metadata"]["annotations"] = {f"hollow/{key}": value for key, value in notes.items()}
    return body


@pytest.mark.usefixtures("_nodes")
def test_two_hundred_jobs_on_a_thousand_nodes(api: Api, space: Space) -> None:
    nodes = api.items("/api/v1/nodes?labelSelector=hollow%3Dtrue")
    assert len(nodes) == NODES
    assert all(node["status"]["allocatable"]["nvidia.com/gpu"] == "8" for node in nodes)
    for number in range(JOBS):
        api.create(space.jobs, hollow_job(f"job-{number}", space.image, runs="1s"))
    left = {f"job-{number}" for number in range(JOBS)}
    for found in api.states(space.jobs, seconds=300):
        if over(found):
            assert condition(found, "Complete").get("status") == "True", found["status"]
            left.discard(found["metadata"]["name"])
        if not left:
            break
    assert left == set()
    used = {p["spec"]["nodeName"] for p in api.items(space.pods)}
    assert all(name.startswith("hollow-") for name in used)


@pytest.mark.usefixtures("_nodes")
def test_a_hollow_pod_fails_as_it_is_told(api: Api, space: Space) -> None:
    api.create(space.jobs, hollow_job("bad", space.image, exit="7"))
    failed = api.until(space.jobs, over, name="bad")
    assert condition(failed, "Failed")["reason"] == "BackoffLimitExceeded"
    (found,) = api.items(f"{space.pods}?labelSelector=job-name%3Dbad")
    assert found["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 7


@pytest.mark.usefixtures("_nodes")
def test_what_does_not_ask_for_them_goes_to_the_real_node(space: Space) -> None:
    assert space.log("real", "print=I run") == ["I run"]
