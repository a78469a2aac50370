"""A store with two built images that share a layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from flyte_build.building.building import build
from flyte_build.deriving.derivation import ImageDerivation
from flyte_build.kernel.reporting import Silent
from flyte_build.store import Store
from flyte_build.store.built import BuiltImage
from tests.support.images import FolderLocator, image_of, wheel_layer


@dataclass
class Built:
    store: Store
    wheels: Path
    images: list[ImageDerivation]
    built: list[BuiltImage]

    def again(self) -> list[BuiltImage]:
        return build(self.images, self.store, locator=FolderLocator(self.wheels), reporter=Silent())


@pytest.fixture
def filled(tmp_path: Path) -> Built:
    """Images ``one`` (alpha, beta) and ``two`` (alpha, gamma)."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    alpha, beta, gamma = (wheel_layer(wheels, name) for name in ("alpha", "beta", "gamma"))
    images = [image_of("one", [alpha, beta]), image_of("two", [alpha, gamma])]
    store = Store(tmp_path / "store")
    made = Built(store, wheels, images, [])
    made.built = made.again()
    return made
