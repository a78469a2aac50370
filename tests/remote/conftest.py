"""A registry, a folder of artifacts, and two images that share layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_build.deriving.derivation import ImageDerivation
from tests.support.images import image_of, wheel_layer
from tests.support.registry import RegistryServer

from .site import Machine

SIZE = 20_000


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as made:
        yield made


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    (tmp_path / "wheels").mkdir()
    return tmp_path / "wheels"


@pytest.fixture
def pair(wheels: Path) -> list[ImageDerivation]:
    """Two environments; the second has one layer more."""
    alpha, beta, gamma = (wheel_layer(wheels, name, SIZE) for name in ("alpha", "beta", "gamma"))
    return [image_of("low", [alpha, beta]), image_of("top", [alpha, beta, gamma])]


@pytest.fixture
def first(server: RegistryServer, wheels: Path, pair: list[ImageDerivation], tmp_path: Path) -> Machine:
    """The machine that built and pushed both images."""
    machine = Machine(tmp_path / "first", server, wheels)
    machine.push(pair, "v1")
    assert machine.said.warnings == []
    server.forget_requests()
    return machine


@pytest.fixture
def fresh(server: RegistryServer, tmp_path: Path) -> Machine:
    """A machine with an empty store, and nowhere to fetch artifacts from."""
    return Machine(tmp_path / "fresh", server, tmp_path / "nothing")
