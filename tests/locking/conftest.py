"""Caches of their own for every test, and an index on the loopback that uv and pip are pointed at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.index import SimpleIndex
from ..support.locking import publish
from ..support.registry import RegistryServer


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleIndex]:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip"))
    monkeypatch.setenv("PIP_TOOLS_CACHE_DIR", str(tmp_path / "pip-tools"))
    folder = tmp_path / "published"
    folder.mkdir()
    with SimpleIndex(folder) as served:
        yield served


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        yield server


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[SimpleIndex]:
    """An index of a uv project's own; `index` stands for the public one."""
    (tmp_path / "ours").mkdir()
    with SimpleIndex(tmp_path / "ours") as served:
        yield served


@pytest.fixture
def app(tmp_path: Path, index: SimpleIndex) -> Path:
    """Where a uv project is; the public index has `toolz`, newer than anybody's own, and some others."""
    publish(index.folder, "toolz 99: intruder", "intruder 1", "a 1.0: b", "a 2.0: b", "b 1.0", "b 2.0", "c 1.0")
    return tmp_path / "app"
