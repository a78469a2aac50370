"""``store gc``: what an image used lately needs stays, the rest goes."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from flyte_build.kernel.errors import StoreError
from flyte_build.kernel.reporting import Recorder
from flyte_build.store import Store, layout

from .conftest import Built

DAY = 86400


def age(store: Store, days: float, *images: str) -> None:
    """Make everything in the store look old, and these images' last use as well."""
    then = time.time() - days * DAY
    for path in store.root.rglob("*"):
        if path.is_file() and path.parent != store.used:
            os.utime(path, (then, then))
    for image in images:
        os.utime(store.used / image[7:], (then, then))


def files(store: Store) -> set[Path]:
    kept = (store.blobs, store.artifacts, store.realisations, store.listings)
    return {p for folder in kept for p in folder.iterdir()}


def test_what_was_used_lately_stays(filled: Built) -> None:
    before = files(filled.store)
    assert filled.store.gc().freed == 0
    age(filled.store, 100)
    collected = filled.store.gc()
    assert (collected.images, collected.kept) == ((), 2)
    assert files(filled.store) == before


def test_an_unused_image_goes_with_what_only_it_needs(filled: Built) -> None:
    store, (one, two) = filled.store, filled.images
    age(store, 40, one.hash)
    size = sum(p.stat().st_size for p in files(store))
    planned = store.gc(dry_run=True)
    assert sum(p.stat().st_size for p in files(store)) == size
    collected = store.gc()
    assert collected.images == planned.images == ("one-linux-amd64",)
    assert collected.freed == planned.freed
    assert size - sum(p.stat().st_size for p in files(store)) == pytest.approx(collected.freed, abs=2000)
    assert set(store.tags()) == {"two-linux-amd64"}
    assert store.image(two.hash) is not None
    assert store.layer(one.layers[0].hash) is not None
    assert store.layer(one.layers[1].hash) is None
    assert store.artifact(one.layers[0].artifacts[0].sha256) is not None
    assert store.artifact(one.layers[1].artifacts[0].sha256) is None
    assert store.verify().ok
    assert filled.again()[0].manifest_digest == filled.built[0].manifest_digest


def test_days_to_keep_can_be_given(filled: Built) -> None:
    age(filled.store, 5, *(i.hash for i in filled.images))
    assert filled.store.gc(keep_days=6).images == ()
    assert len(filled.store.gc(keep_days=4).images) == 2
    assert files(filled.store) == set()
    with pytest.raises(ValueError, match="keep_days"):
        filled.store.gc(keep_days=-1)


def test_using_an_image_keeps_it(filled: Built) -> None:
    store = filled.store
    age(store, 40, *(i.hash for i in filled.images))
    store.touch(filled.images[0].hash)
    assert store.gc().images == ("two-linux-amd64",)


def test_an_image_whose_name_moved_on_still_has_its_days(filled: Built) -> None:
    store, (one, two) = filled.store, filled.images
    found = store.image(two.hash)
    assert found is not None
    with store.session() as session:
        session.tag(type(two)("one", two.platform, two.layers, two.spec), found)
    store.gc()
    assert store.image(one.hash) is not None


def test_a_strangers_image_stays(filled: Built) -> None:
    store, built = filled.store, filled.built[0]
    foreign = {"digest": built.manifest_digest, "size": 1, "annotations": {layout.REF_NAME: "theirs"}}
    (store.oci / "index.json").write_bytes(layout.dump({**store.index(), "manifests": [foreign]}))
    age(store, 40, *(i.hash for i in filled.images))
    store.gc()
    assert store.tags() == {"theirs": built.manifest_digest}
    assert all(store.blob(layer.digest) for layer in built.layers)


def test_what_an_unfinished_build_made_today_stays(filled: Built) -> None:
    store, image = filled.store, filled.images[0]
    (store.realisations / f"{image.hash[7:]}.json").unlink()
    store.gc()
    assert store.layer(image.layers[1].hash) is not None
    assert store.artifact(image.layers[1].artifacts[0].sha256) is not None
    (store.partial / ("ab" * 32)).write_bytes(b"arriving")
    store.gc()
    assert len(list(store.partial.iterdir())) == 1
    age(store, 2)
    store.gc()
    assert store.layer(image.layers[1].hash) is None
    assert list(store.partial.iterdir()) == []


def test_unpacked_images_go_with_their_image(filled: Built) -> None:
    store = filled.store
    for built in filled.built:
        inside = store.roots / built.manifest_digest[7:] / "opt"
        inside.mkdir(parents=True)
        (inside / "file").write_bytes(b"x" * 10_000)
        inside.chmod(0o555)
    age(store, 40, filled.images[0].hash)
    collected = store.gc()
    assert [p.name for p in store.roots.iterdir()] == [filled.built[1].manifest_digest[7:]]
    assert collected.freed > 10_000


def test_a_running_build_is_waited_for(filled: Built) -> None:
    store, reporter = filled.store, Recorder()
    age(store, 40, filled.images[0].hash)
    with store.session():
        with pytest.raises(StoreError, match="a build or a run is using the store"):
            store.gc(patience=0.1)
        done: list[object] = []
        thread = threading.Thread(target=lambda: done.append(store.gc(reporter=reporter)))
        thread.start()
        time.sleep(0.3)
        assert done == []
        assert store.image(filled.images[0].hash) is not None
    thread.join(10)
    assert len(done) == 1
    assert any("waiting" in note for note in reporter.notes)
    with store.reading(), pytest.raises(StoreError):
        store.gc(patience=0)


def test_a_listed_image_that_is_gone_leaves_the_index(filled: Built) -> None:
    store = filled.store
    for path in store.realisations.iterdir():
        path.unlink()
    store.gc(keep_days=0)
    assert store.tags() == {}
    assert files(store) == set()
