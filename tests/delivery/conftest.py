"""Two images that share a layer, in a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.delivery.unbundle import unbundle
from flyte_build.kernel.errors import FlyteBuildError, LockError
from flyte_build.kernel.reporting import Silent
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


@pytest.fixture
def good(site: Site, tmp_path: Path) -> Path:
    return site.bundle(tmp_path / "good.fbundle").path


@pytest.fixture
def there(tmp_path: Path) -> Store:
    return Store(tmp_path / "there")


def refused(store: Store, path: Path, lockfiles: Path, **options: bool) -> FlyteBuildError:
    """Why the bundle is not taken; the store then knows nothing of its images, and there are no locks."""
    with pytest.raises(FlyteBuildError) as e:
        unbundle(store, path, lockfiles, Silent(), **options)
    assert not isinstance(e.value, LockError) or "found others" in e.value.message
    assert not lockfiles.exists() or list(lockfiles.iterdir()) == []
    assert not store.realisations.is_dir() or list(store.realisations.iterdir()) == []
    assert store.tags() == {}
    assert store.verify().ok
    assert list(store.tmp.glob("session-*")) == []
    return e.value
