"""A bench whose records trust times at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.noop import Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NOOP_USE_B", "")
    monkeypatch.setattr("flyte_build.planning.recording._TICK", 0.0)
    path = list(sys.path)
    made = Bench(tmp_path)
    yield made
    sys.path[:] = path
