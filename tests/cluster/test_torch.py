"""A clustered task with torch itself: its launcher in two pods, which JobSet's controllers make, and a sum of both.

For the night: ``FLYTE_BUILD_TEST_TORCH=1``. torch brings CUDA along: 3.1 GB of wheels from an index, as pip is
configured (docs/kubernetes.md says what it took).
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.jobs import Space
from tests.cluster.runs import Project

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("jobset"),
    pytest.mark.skipif("FLYTE_BUILD_TEST_TORCH" not in os.environ, reason="for the night"),
]


@pytest.fixture
def project(cluster: Cluster, space: Space, tmp_path: Path) -> Iterator[Project]:
    home = tmp_path / "home"
    made = Project(home, tmp_path / "project", cluster, space)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(home, ignore_errors=True)


def test_two_pods_add_up_what_each_has(project: Project) -> None:
    took: dict[str, int] = {}
    said = ""
    for words in (("lock", "sums.py"), ("build", "sums.py"), ("run", "--on", "test", "--json", "sums.py", "total")):
        begun = time.monotonic()
        said = project.ok(*words)
        took[words[0]] = round(time.monotonic() - begun)
    print("seconds", took)
    done = json.loads(said)
    # 0, 1, 2, 3 from the first of them, and ten times that from the other.
    assert done["outputs"] == {"o0": [0.0, 11.0, 22.0, 33.0]}
    assert [(a["task"], a["phase"], a["attempt"]) for a in done["actions"]] == [("sums.total", "succeeded", 1)]
    said = project.ok("logs", "--on", "test", project.newest()["name"])
    assert ["rank 0 of 2 with torch" in said, "rank 1 of 2 with torch" in said] == [True, True]
