"""One cluster for the whole session, in a folder of the session's own, and a namespace of it for each test."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flyte_build.submit.kubernetes.api import connect
from flyte_build.submit.kubernetes.mirror import mirror_of
from tests.cluster.api import Api
from tests.cluster.cluster import Cluster
from tests.cluster.jobs import Space
from tests.cluster.needs import lacking
from tests.cluster.submitting import Bench
from tests.support import tools

_NUMBERS = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Last: the cluster's programs may be being built beside the other tests."""
    items.sort(key=lambda item: "tests/cluster/" in item.nodeid)


@pytest.fixture(scope="session")
def able(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The machine has what a cluster needs."""
    if missing := list(lacking(tmp_path_factory.getbasetemp())):
        tools.lacking("; ".join(missing))


@pytest.fixture(scope="session")
def cluster(able: None, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Shared: what a test kills, it starts again."""
    running = Cluster(tmp_path_factory.mktemp("cluster") / "home")
    try:
        running.up(say=print)
        yield running
    finally:
        if request.session.testsfailed:
            for log in sorted((running.home / "logs").glob("*")):
                print(running.processes.tail(log.stem))
        running.down()
        shutil.rmtree(running.home.parent)


@pytest.fixture
def api(cluster: Cluster) -> Iterator[Api]:
    with cluster.api() as api:
        yield api


@pytest.fixture
def space(cluster: Cluster, api: Api) -> Iterator[Space]:
    """A namespace of the test's own, in which pods can be made at once."""
    name = f"test-{next(_NUMBERS)}"
    api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    api.until(f"/api/v1/namespaces/{name}/serviceaccounts", lambda _: True, name="default")
    yield Space(api, name, cluster.pod_image)
    api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def other_home(able: None, tmp_path: Path) -> Iterator[Path]:
    """Where a second cluster can be; none is left there."""
    home = tmp_path / "other"
    yield home
    Cluster(home).down()


@pytest.fixture
def make(cluster: Cluster, space: Space, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def bench(unscheduled: float = 120.0) -> Bench:
        store = cluster.store
        options = {
            "endpoint": store.endpoint, "access_key_id": store.access_key_id, "region": "us-east-1",
            "secret_access_key": store.secret_access_key, "allow_http": "true",
        }  # fmt: skip
        client = connect(kubeconfig=str(cluster.home / "kubeconfig"), namespace=space.name)
        mirror = mirror_of(f"s3://{store.bucket}/{space.name}", tmp_path / "runs", options)
        made.append(Bench(client, mirror, space.image, unscheduled))
        return made[-1]

    yield bench
    for one in made:
        one.watcher.close()
