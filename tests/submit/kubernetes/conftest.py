"""A Kubernetes API of our own, empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.apiserver import ApiServer, serving


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with serving() as server:
        yield server
