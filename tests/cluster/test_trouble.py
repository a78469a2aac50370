"""A cluster in trouble while an attempt runs: its API server killed, and every object newer than a watch remembers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flyte_build.submit.action import Outcome
from tests.cluster.cluster import Cluster
from tests.cluster.submitting import Bench

pytestmark = pytest.mark.integration


def test_an_api_server_that_is_killed_costs_no_attempt(make: Callable[..., Bench], cluster: Cluster) -> None:
    bench = make()

    def kill() -> None:
        bench.until("running on ")
        killed = cluster.pids()["apiserver"]
        cluster.processes.stop("apiserver")
        cluster.up(say=lambda _: None)
        assert cluster.pids()["apiserver"] != killed

    assert bench.launch("sleep=15s", "print=after", during=kill) == Outcome(0)
    assert bench.folder.log("a0", 1).read_text() == "after\n"
    assert bench.lines[-1] == "succeeded"
    (job,) = [j for page in bench.client.pages("batch/v1/jobs", {}) for j in page["items"]]
    assert job["metadata"]["name"] == bench.name, "no second one was made"
