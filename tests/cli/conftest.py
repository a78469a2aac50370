"""The whole command line against an archive and an index on the loopback, in a project of its own a test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_build.locks.lockfile import read
from flyte_build.store import Store

from ..support.archive import Signer, serve
from ..support.index import SimpleIndex
from ..support.offline import FLYTE, Offline, publish_base, workflow
from ..support.verified import AMD64, Built


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    one = Signer(tmp_path_factory.mktemp("key"))
    yield one
    one.close()


@pytest.fixture(scope="session")
def published(signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archive")
    publish_base(root, signer)
    return root


@pytest.fixture
def offline(
    signer: Signer,
    published: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Offline]:
    """Nothing is locked yet; ``flow.py`` has the environments ``low`` (package alpha) and ``top`` (alpha and beta)."""
    shutil.copytree(published, tmp_path / "www")
    (tmp_path / "wheels").mkdir()
    with serve(tmp_path / "www") as archive, SimpleIndex(tmp_path / "wheels") as index:
        made = Offline(tmp_path, index, archive, monkeypatch, capfd)
        made.configure(signer.keyring)
        made.publish("flyte", FLYTE)
        made.publish("alpha")
        made.publish("beta", requires=["alpha"])
        made.write(workflow("low: alpha", "top(low): alpha beta"))
        yield made


@pytest.fixture
def built(offline: Offline) -> Built:
    offline.ok("lock", "flow.py")
    images = offline.ok("build", "flow.py", "--json").json()["images"]
    digests = {i["environment"]: i["digest"] for i in images}
    for name, digest in digests.items():
        lock = read(offline.lockfiles, name)
        assert lock is not None
        assert lock.pins[AMD64].digest == digest
    return Built(offline, Store(offline.store), digests)
