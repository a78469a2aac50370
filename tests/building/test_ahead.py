"""A layer that is begun before the rest is loaded: its artifacts are hashed once, and what is wrong is said as ever."""

from __future__ import annotations

import json
import os
import shutil
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_build.building import ahead
from flyte_build.building.ahead import Ahead, begun
from flyte_build.building.building import build
from flyte_build.deriving.derivation import ImageDerivation, LayerDerivation
from flyte_build.kernel.errors import FetchError
from flyte_build.kernel.reporting import Silent
from flyte_build.native.feeding import Unfit
from flyte_build.native.library import core
from flyte_build.store import Store, checked, locks
from flyte_build.store.realisations import hexadecimal
from tests.support.images import FolderLocator, image_of, wheel_layer
from tests.support.layers import sha256


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
    """The artifacts that were hashed, one after the other, by Python or by the core."""
    seen: list[str] = []
    original, proof = checked._hash, ahead.proof

    def spy(path: Path, hashing: Callable[[Path], str] | None = None) -> str | None:
        seen.append(path.name)
        return original(path, hashing)

    def asked(store: Store, sha256: str) -> checked.Proof | None:
        how = proof(store, sha256)
        if how is not None:
            seen.append(sha256)
        return how

    monkeypatch.setattr(checked, "_hash", spy)
    monkeypatch.setattr(ahead, "proof", asked)
    return seen


@pytest.fixture
def by_core() -> None:
    """The core is there."""
    if core().library is None:
        pytest.skip(str(core()))


def largest(image: ImageDerivation) -> LayerDerivation:
    return max(image.layers, key=lambda layer: layer.fetch_size)


def test_each_is_hashed_once(tmp_path: Path, image: ImageDerivation, fetched: Store, hashed: list[str]) -> None:
    build([image], fetched, locator=FolderLocator(tmp_path / "gone"), reporter=Silent())
    assert sorted(hashed) == sorted(image.artifacts)


def test_without_the_core_the_largest_that_is_missing_is_hashed(
    image: ImageDerivation, fetched: Store, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYTE_BUILD_CORE", "pure")
    [large] = largest(image).artifacts
    with fetched.session() as session:
        early = Ahead(session, [image])
        for thread in threading.enumerate():
            if thread.name == "look_ahead":
                thread.join(60)
        assert hashed == [large.sha256]
        assert early.holds(largest(image).hash) is None
        assert session.artifact(large.sha256, large.size, large.file) == fetched.artifact_path(large.sha256)
        assert hashed == [large.sha256]
        early.close()


def test_the_largest_that_is_missing_is_begun(
    by_core: None, image: ImageDerivation, fetched: Store, hashed: list[str]
) -> None:
    layer = largest(image)
    [large] = layer.artifacts
    with fetched.session() as session:
        early = Ahead(session, [image])
        assert locks.try_acquire(fetched.locks / hexadecimal(layer.hash)) is None
        found = early.holds(layer.hash)
        assert found is not None
        assert early.holds(layer.hash) is None, "whoever asks has it"
        with found:
            made = found.finish(int)
        assert sha256(found.blob) == hexadecimal(made.digest)
        assert hashed == [large.sha256]
        assert session.sound(large.sha256)
        early.close()
        handle = locks.try_acquire(fetched.locks / hexadecimal(layer.hash))
        assert handle is not None
        os.close(handle)


def test_what_nobody_asks_for_is_given_up(by_core: None, image: ImageDerivation, fetched: Store) -> None:
    layer = largest(image)
    with fetched.session() as session:
        early = Ahead(session, [image])
        early.close()
        assert not list(fetched.tmp.glob("session-*/*-layer"))
        handle = locks.try_acquire(fetched.locks / hexadecimal(layer.hash))
        assert handle is not None
        # What another build makes is not begun.
        assert Ahead(session, [image]).holds(layer.hash) is None
        os.close(handle)
    assert fetched.layer(layer.hash) is None


def test_a_layer_of_a_damaged_artifact_is_none(by_core: None, image: ImageDerivation, fetched: Store) -> None:
    """What is wrong lies where no file of the wheel does, so that its hash alone tells."""
    layer = largest(image)
    [large] = layer.artifacts
    path = fetched.artifact_path(large.sha256)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as held:
        # The time of the first member, in its local header: nothing reads it.
        data[held.infolist()[0].header_offset + 10] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with fetched.session() as session:
        found = begun(session, layer)
        assert found is not None
        with found:
            found.open()
            found.arrange()
            found.feed()
            with pytest.raises(Unfit):
                found.finish(int)
        assert not found.blob.exists()
        assert not session.sound(large.sha256)
    with pytest.raises(FetchError, match="the copy in the store is not what was locked"):
        build([image], fetched, locator=FolderLocator(path.parent), reporter=Silent())
    assert fetched.layer(layer.hash) is None


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
