"""A Kubernetes API of our own, empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.apiserver import ApiServer, serving


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def _looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that a test moves wakes nobody up, and a test gathers nothing."""
    monkeypatch.setattr("flyte_build.submit.kubernetes.launcher._LOOK", 0.05)
    monkeypatch.setattr("flyte_build.submit.kubernetes.stored_journal._MOMENT", 0.001)
