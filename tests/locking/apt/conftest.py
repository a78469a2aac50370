"""A signed archive of :mod:`tests.support.debian`'s suite, served for each test from a copy of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from flyte_build.locking.apt import index
from tests.support.archive import NOW, Server, Signer, publish, serve
from tests.support.debian import MAIN, SECURITY, UPDATES
from tests.support.offline_fixtures import signer

__all__ = ["published", "server", "signer"]


@pytest.fixture(scope="session")
def published(signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archive")
    publish(root / "debian", signer, "bookworm", MAIN, date=NOW - timedelta(days=30), valid=None)
    publish(root / "debian", signer, "bookworm-updates", UPDATES, date=NOW - timedelta(hours=9))
    publish(root / "debian-security", signer, "bookworm-security", SECURITY, archive="debian-security")
    return root


@pytest.fixture
def server(published: Path, tmp_path: Path) -> Iterator[Server]:
    index._scanned.clear()
    shutil.copytree(published, tmp_path / "www")
    with serve(tmp_path / "www") as one:
        yield one
