"""Artifacts that are hashed before what makes a layer is loaded: each once, and what is wrong is said as ever."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_build.building import building
from flyte_build.building.building import build
from flyte_build.deriving.derivation import ImageDerivation
from flyte_build.kernel.errors import FetchError
from flyte_build.kernel.reporting import Silent
from flyte_build.store import Store, checked
from tests.support.images import FolderLocator, image_of, wheel_layer


@pytest.fixture
def image(tmp_path: Path) -> ImageDerivation:
    (tmp_path / "wheels").mkdir()
    layers = [wheel_layer(tmp_path / "wheels", name, size) for name, size in (("large", 3 << 20), ("small", 2000))]
    return image_of("env", layers)


@pytest.fixture
def fetched(tmp_path: Path, image: ImageDerivation) -> Store:
    """A store in which nothing is built, and all artifacts are."""
    store = Store(tmp_path / "store")
    build([image], store, locator=FolderLocator(tmp_path / "wheels"), reporter=Silent())
    for folder in (store.realisations, store.listings, store.oci, store.checked):
        shutil.rmtree(folder, ignore_errors=True)
    return store


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The artifacts that were hashed, one after the other."""
    seen: list[str] = []
    original = checked._hash

    def spy(path: Path, hashing: Callable[[Path], str] | None = None) -> str | None:
        seen.append(path.name)
        return original(path, hashing)

    monkeypatch.setattr(checked, "_hash", spy)
    return seen


def test_each_is_hashed_once(tmp_path: Path, image: ImageDerivation, fetched: Store, hashed: list[str]) -> None:
    build([image], fetched, locator=FolderLocator(tmp_path / "gone"), reporter=Silent())
    assert sorted(hashed) == sorted(image.artifacts)


def test_the_largest_that_is_missing_comes_first(image: ImageDerivation, fetched: Store, hashed: list[str]) -> None:
    large = max(image.artifacts.values(), key=lambda a: a.size)
    with fetched.session() as session:
        building._look_ahead(session, [image])
        for thread in threading.enumerate():
            if thread.name == "look_ahead":
                thread.join(60)
        assert hashed == [large.sha256]
        assert session.artifact(large.sha256, large.size, large.file) == fetched.artifact_path(large.sha256)
        assert hashed == [large.sha256]


def test_what_is_damaged_is_said_and_fetched_by_the_next(
    tmp_path: Path, image: ImageDerivation, fetched: Store
) -> None:
    large = max(image.artifacts.values(), key=lambda a: a.size)
    path = fetched.artifact_path(large.sha256)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    locator = FolderLocator(tmp_path / "wheels")
    with pytest.raises(FetchError, match=r"large-1\.0.*the copy in the store is not what was locked"):
        build([image], fetched, locator=locator, reporter=Silent())
    assert not fetched.artifact(large.sha256)
    [built] = build([image], fetched, locator=locator, reporter=Silent())
    assert locator.asked
    assert fetched.verify().ok
    assert fetched.tags() == {"env-linux-amd64": built.manifest_digest}
    index = json.loads((fetched.oci / "index.json").read_bytes())
    assert [entry["digest"] for entry in index["manifests"]] == [built.manifest_digest]
