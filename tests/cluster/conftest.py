"""One cluster for the whole session, in a folder of the session's own, and a namespace of it for each test."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flyte_build.submit.kubernetes.api import connect
from flyte_build.submit.kubernetes.mirror import mirror_of
from tests.cluster.addons import add_jobset
from tests.cluster.api import Api
from tests.cluster.cluster import Cluster
from tests.cluster.guard import guarded
from tests.cluster.jobs import Space
from tests.cluster.needs import lacking
from tests.cluster.submitting import Bench
from tests.support import tools

_NUMBERS = itertools.count()
_INTERRUPTED: list[object] = []
"""Why the tests end before their end: then the cluster goes, and nothing of it has to be put right before."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Last: the cluster's programs may be being built beside the other tests."""
    items.sort(key=lambda item: "tests/cluster/" in item.nodeid)


def pytest_keyboard_interrupt(excinfo: object) -> None:
    """Said before anything is taken down."""
    _INTERRUPTED.append(excinfo)


@pytest.fixture(scope="session")
def interrupted() -> list[object]:
    """Not empty once somebody ended the tests by hand."""
    return _INTERRUPTED


@pytest.fixture(scope="session")
def able(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The machine has what a cluster needs."""
    if missing := list(lacking(tmp_path_factory.getbasetemp())):
        tools.lacking("; ".join(missing))


@pytest.fixture(scope="session")
def cluster(able: None, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Shared: what a test kills, it starts again."""
    running = Cluster(tmp_path_factory.mktemp("cluster") / "home")
    with guarded(running.home):
        try:
            running.up(say=print)
            yield running
        finally:
            if request.session.testsfailed:
                for log in sorted((running.home / "logs").glob("*")):
                    print(running.processes.tail(log.stem))
            running.down()
            shutil.rmtree(running.home.parent)


@pytest.fixture(scope="session")
def jobset(cluster: Cluster) -> None:
    """JobSet is there from here on."""
    with cluster.api() as api:
        add_jobset(cluster, api)


@pytest.fixture
def api(cluster: Cluster) -> Iterator[Api]:
    with cluster.api() as api:
        yield api


@contextmanager
def namespace(cluster: Cluster, api: Api) -> Iterator[Space]:
    """One in which pods can be made at once."""
    name = f"test-{next(_NUMBERS)}"
    api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    api.until(f"/api/v1/namespaces/{name}/serviceaccounts", lambda _: True, name="default")
    yield Space(api, name, cluster.pod_image)
    if not _INTERRUPTED:
        api.delete(f"/api/v1/namespaces/{name}")


@contextmanager
def benches(cluster: Cluster, space: Space, folder: Path) -> Iterator[Callable[..., Bench]]:
    """Makes launchers of runs in ``space``."""
    made: list[Bench] = []

    def bench(unscheduled: float = 120.0) -> Bench:
        store = cluster.store
        options = {
            "endpoint": store.endpoint, "access_key_id": store.access_key_id, "region": "us-east-1",
            "secret_access_key": store.secret_access_key, "allow_http": "true",
        }  # fmt: skip
        client = connect(kubeconfig=str(cluster.home / "kubeconfig"), namespace=space.name)
        mirror = mirror_of(f"s3://{store.bucket}/{space.name}", folder / "runs", options)
        made.append(Bench(client, mirror, space.image, unscheduled))
        return made[-1]

    yield bench
    for one in made:
        one.watcher.close()


@pytest.fixture
def space(cluster: Cluster, api: Api) -> Iterator[Space]:
    """A namespace of the test's own."""
    with namespace(cluster, api) as made:
        yield made


@pytest.fixture
def other_home(able: None, tmp_path: Path) -> Iterator[Path]:
    """Where a second cluster can be; none is left there."""
    home = tmp_path / "other"
    with guarded(home):
        yield home
        Cluster(home).down()


@pytest.fixture
def make(cluster: Cluster, space: Space, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    with benches(cluster, space, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def make_shared(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Bench]]:
    """The same in one namespace for all tests of a file."""
    folder = tmp_path_factory.mktemp("shared")
    with cluster.api() as api, namespace(cluster, api) as space, benches(cluster, space, folder) as made:
        yield made
