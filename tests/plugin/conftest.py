"""The servers that a plug-in's processes talk to; started once, since what they hold is only added to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.site import AF2, Site, opened_site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened_site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="session")
def locked(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seed's project, locked and pushed once."""
    folder = site.write(tmp_path_factory.mktemp("locked"), AF2)
    site.ok("flyte-build", "lock", "main.py", cwd=folder)
    site.ok("flyte-build", "push", "main.py", cwd=folder)
    return folder


@pytest.fixture
def project(locked: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    folder = tmp_path / "project"
    shutil.copytree(locked, folder)
    return folder
