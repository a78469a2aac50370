"""One run of very many actions: each costs its driver a few requests, and nothing grows with how many there were.

With FLYTE_BUILD_TEST_ACTIONS=5000, FLYTE_BUILD_TEST_NODES=1000, FLYTE_BUILD_TEST_MAPS=50 (0: one map, and no other;
and `pytest -n 0 -s`) it makes the figures of benchmarks/README.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.jobs import Space

pytestmark = pytest.mark.integration

ACTIONS = int(os.environ.get("FLYTE_BUILD_TEST_ACTIONS", "60"))
MAPS = int(os.environ.get("FLYTE_BUILD_TEST_MAPS", "4"))
NODES = int(os.environ.get("FLYTE_BUILD_TEST_NODES", "20"))


@pytest.fixture(scope="module")
def _nodes(cluster: Cluster, interrupted: list[object]) -> Iterator[None]:
    cluster.hollow(NODES, {"nvidia.com/gpu": 8})
    yield
    if not interrupted:
        cluster.hollow(0, {})


def run(what: str, cluster: Cluster, space: Space, *maps: str) -> dict[str, Any]:
    store = cluster.store
    options = {
        "endpoint": store.endpoint, "access_key_id": store.access_key_id, "region": store.region,
        "secret_access_key": store.secret_access_key, "allow_http": "true",
    }  # fmt: skip
    words = (
        what, f"{cluster.home}/kubeconfig", space.name, f"s3://{store.bucket}/{space.name}", json.dumps(options),
        space.image, str(ACTIONS), *maps,
    )  # fmt: skip
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.scale", *words], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    print(what, found)
    return found


@pytest.mark.usefixtures("_nodes")
def test_an_action_costs_its_driver_few_requests(cluster: Cluster, space: Space) -> None:
    driver = run("driver", cluster, space, str(MAPS))
    assert driver["succeeded"] == ACTIONS
    # The root's own Job, those of the maps between, lists and watches are shared by all.
    assert driver["asked"]["POST jobs"] == ACTIONS + MAPS + 1
    assert sum(driver["asked"].values()) <= 4 * ACTIONS
    if ACTIONS >= 1000:
        bare = run("bare", cluster, space)
        print(f"{driver['seconds'] / bare['seconds']:.2f} of what the bare API takes")
        assert driver["mib"] <= 150
