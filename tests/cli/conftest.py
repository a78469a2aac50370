"""The whole command line against an archive and an index on the loopback, in a project of its own a test."""

from __future__ import annotations

import pytest

from flyte_build.locks.lockfile import read
from flyte_build.store import Store

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
