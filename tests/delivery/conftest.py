"""Two images that share a layer, in a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.store import Store
from flyte_build.store.built import BuiltImage
from tests.support.bundles import Site
from tests.support.images import files_layer, image_of, wheel_layer


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Images ``one`` (alpha, a copied file) and ``two`` (alpha, beta)."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    shared = wheel_layer(wheels, "alpha")
    images = [
        image_of("one", [shared, files_layer(wheels, {"home/flyte/main.py": b"x = 1\n"})]),
        image_of("two", [shared, wheel_layer(wheels, "beta")]),
    ]
    return Site(Store(tmp_path / "store"), wheels, images)


@pytest.fixture
def store(site: Site) -> Store:
    return site.store


@pytest.fixture
def built(site: Site) -> list[BuiltImage]:
    return site.built
