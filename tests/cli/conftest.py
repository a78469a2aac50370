"""The whole command line against an archive and an index on the loopback, in a project of its own a test."""

from __future__ import annotations

import pytest

from flyte_build.locks.lockfile import read
from flyte_build.store import Store

from ..support import conda, pixi
from ..support.offline import Offline
from ..support.offline_fixtures import offline, published, registry, signer
from ..support.verified import AMD64, Built

__all__ = ["built", "offline", "published", "registry", "signer"]


@pytest.fixture
def built(offline: Offline) -> Built:
    offline.locked()
    images = offline.ok("build", "flow.py", "--json").json()["images"]
    digests = {i["environment"]: i["digest"] for i in images}
    for name, digest in digests.items():
        lock = read(offline.lockfiles, name)
        assert lock is not None
        assert lock.pins[AMD64].digest == digest
    return Built(offline, Store(offline.store), digests)


@pytest.fixture
def pixi_packages(offline: Offline) -> list[conda.Built]:
    return conda.a_few(offline.home / "channel")


@pytest.fixture
def pixi_project(offline: Offline, pixi_packages: list[conda.Built]) -> Offline:
    """What the lock has of Python's packages needs one that a conda package brings, and which no index has."""
    alpha = offline.publish("alpha", "1.0", metadata={
        "METADATA": "Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\nRequires-Dist: Pure_Thing>=1\n"
    })  # fmt: skip
    offline.publish("alpha", "2.0")
    pixi.lock(offline, pixi_packages, pixi.pypi(alpha, "pure-thing>=1"))
    offline.write(pixi.MANIFEST, "pixi.toml")
    offline.write(pixi.FLOW.format(more='.with_pip_packages("flyte")'))
    return offline
