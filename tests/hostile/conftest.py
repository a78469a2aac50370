"""The offline archive and index, and a registry on the loopback, for a project of its own a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..support.offline_fixtures import offline, published, signer
from ..support.registry import RegistryServer

__all__ = ["offline", "published", "registry", "signer"]


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        yield server
