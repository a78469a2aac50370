"""A store of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "cache").mkdir()
    return Store(tmp_path / "cache")
