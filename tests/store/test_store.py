"""The store: what is asked, what is written, and who waits for whom."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from flyte_build.kernel.errors import StoreError
from flyte_build.store import ImageRealisation, LayerRealisation, Store, layout, locks
from flyte_build.store.files import copy_verified, hash_file, human, share, storing
from flyte_build.store.realisations import decode, encode, hexadecimal

from .conftest import Built

HEX = "ab" * 32
LAYER = LayerRealisation(f"sha256:{HEX}", 3, f"sha256:{HEX}", 10)


def test_asking_an_empty_store_writes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    assert store.artifact(HEX) is None
    assert store.realisation(f"sha256:{HEX}") is None
    assert store.tags() == {}
    assert store.verify().ok
    assert store.gc().files == 0
    with store.reading():
        pass
    store.touch(f"sha256:{HEX}")
    assert not store.root.exists()


def test_the_default_place_is_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path / "cache"))
    assert Store().root == tmp_path / "cache"


def test_oci_is_an_image_layout(filled: Built) -> None:
    oci = filled.store.oci
    assert json.loads((oci / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((oci / "index.json").read_bytes())
    assert (index["schemaVersion"], index["mediaType"]) == (2, "application/vnd.oci.image.index.v1+json")
    assert [m["annotations"]["org.opencontainers.image.ref.name"] for m in index["manifests"]] == [
        "one-linux-amd64",
        "two-linux-amd64",
    ]
    for entry, built in zip(index["manifests"], filled.built, strict=True):
        assert entry["digest"] == built.manifest_digest
        assert entry["platform"] == {"os": "linux", "architecture": "amd64"}
        assert (oci / "blobs/sha256" / entry["digest"][7:]).stat().st_size == entry["size"]


@pytest.mark.parametrize("made", [LAYER, ImageRealisation(f"sha256:{HEX}", 7)])
def test_realisations_survive_a_round_trip(made: LayerRealisation | ImageRealisation) -> None:
    assert decode(encode(made)) == made


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        encode(LAYER)[:-10],
        encode(LAYER).replace(b'"schema":1', b'"schema":2'),
        encode(LAYER).replace(b'"layer"', b'"other"'),
        encode(LAYER).replace(HEX.encode(), b"../../etc/passwd"),
        encode(LAYER).replace(b'"size":3', b'"size":true'),
        encode(LAYER).replace(b'"size":3', b'"size":-3'),
        encode(LAYER).replace(b'"size":3', b'"length":3'),
    ],
)
def test_what_is_no_realisation_counts_as_absent(data: bytes) -> None:
    assert decode(data) is None


@pytest.mark.parametrize("name", ["", HEX, "sha256:", f"sha512:{HEX}", f"sha256:{HEX}/..", f"sha256:{HEX.upper()}"])
def test_only_digests_become_file_names(name: str) -> None:
    with pytest.raises(ValueError, match="expected sha256:"):
        hexadecimal(name)


@pytest.mark.parametrize(
    ("environment", "name"),
    [("fold_env", "fold_env-linux-amd64"), ("a.b-c", "a.b-c-linux-amd64"), ("Übung 1", "bung-1-3aae8071-linux-amd64")],
)
def test_names_follow_the_specifications_grammar(environment: str, name: str) -> None:
    assert layout.ref_name(environment, "linux/amd64") == name
    assert layout.ref_name(environment + "!", "linux/amd64") != name


def test_a_name_moves_to_the_newest_image(filled: Built) -> None:
    store, (one, two) = filled.store, filled.images
    renamed = type(two)("one", two.platform, two.layers, two.spec)
    found = store.image(two.hash)
    assert found is not None
    with store.session() as session:
        session.tag(renamed, found)
    assert store.tags()["one-linux-amd64"] == filled.built[1].manifest_digest
    assert len(store.index()["manifests"]) == 2
    assert store.image(one.hash) is not None


def test_somebody_elses_images_in_the_index_are_kept(filled: Built) -> None:
    store = filled.store
    index = store.index()
    foreign = {"mediaType": layout.MANIFEST, "digest": filled.built[0].manifest_digest, "size": 1}
    (store.oci / "index.json").write_bytes(layout.dump({**index, "manifests": [foreign], "annotations": {"a": "b"}}))
    filled.again()
    assert foreign in store.index()["manifests"]
    assert store.index()["annotations"] == {"a": "b"}
    assert set(store.tags()) == {"one-linux-amd64", "two-linux-amd64"}


def test_the_derivation_of_an_image_is_kept_for_explanations(filled: Built) -> None:
    record = filled.store.derivation(filled.images[0].hash)
    assert record is not None
    assert record["environment"] == "one"
    assert record["spec"] == json.loads(json.dumps(filled.images[0].spec))
    assert [layer["hash"] for layer in record["layers"]] == [x.hash for x in filled.images[0].layers]


def test_what_a_dead_session_left_is_swept_and_a_living_ones_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom flyte_build.store import Store\n"
        "held = Store(Path(sys.argv[1])).session()\nsession = held.__enter__()\n"
        "session.temporary('left').write_bytes(b'x' * 1000)\nos._exit(9)\n"
    )
    with store.session() as session:
        session.temporary("mine").write_bytes(b"y")
        assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
        assert len(list(store.tmp.glob("session-*/*-left"))) == 1
        with store.session():
            assert list(store.tmp.glob("session-*/*-left")) == []
            assert len(list(store.tmp.glob("session-*/*-mine"))) == 1
    assert list(store.tmp.glob("session-*")) == []


def test_of_two_makers_of_one_thing_the_second_waits(tmp_path: Path) -> None:
    store, order = Store(tmp_path), []
    waited = threading.Event()
    with store.session() as one, store.session() as two:

        def second() -> None:
            with two.making(f"sha256:{HEX}", waited.set):
                order.append("second")

        with one.making(f"sha256:{HEX}"):
            thread = threading.Thread(target=second)
            thread.start()
            assert waited.wait(5)
            order.append("first")
        thread.join(5)
    assert order == ["first", "second"]


def test_a_wait_can_be_called_off(tmp_path: Path) -> None:
    stop = threading.Event()
    with locks.held(tmp_path / "lock"):
        threading.Timer(0.1, stop.set).start()
        with pytest.raises(locks.Busy):
            locks.acquire(tmp_path / "lock", cancelled=stop.is_set)
        before = time.monotonic()
        with pytest.raises(locks.Busy):
            locks.acquire(tmp_path / "lock", shared=True, timeout=0.2)
        assert time.monotonic() - before < 60


def test_a_layer_shorter_than_stated_is_not_published(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.session() as session:
        blob = session.temporary()
        blob.write_bytes(b"xx")
        with pytest.raises(StoreError, match="expected a layer of 3 bytes, found 2"):
            session.put_layer(f"sha256:{HEX}", LAYER, {}, blob)
    assert list(store.blobs.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "message", "hint"),
    [
        (errno.ENOSPC, "no space left: .* free, 5.0 MiB needed", "store gc"),
        (errno.EDQUOT, "no space left", "FLYTE_BUILD_CACHE"),
        (errno.EROFS, "cannot be written: Read-only file system", "FLYTE_BUILD_CACHE"),
        (errno.EACCES, "cannot be written: Permission denied", "FLYTE_BUILD_CACHE"),
        (errno.EIO, "Input/output error", "store verify"),
    ],
)
def test_what_the_system_refuses_names_place_and_way_out(tmp_path: Path, code: int, message: str, hint: str) -> None:
    with pytest.raises(StoreError, match=message) as e, storing(tmp_path / "deep/er", 5 << 20):
        raise OSError(code, os.strerror(code))
    assert str(tmp_path / "deep/er") in e.value.message
    assert hint in str(e.value.hint)
    assert e.value.exit_code == 9


def test_a_cache_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(StoreError, match="file: cannot be written: it is no folder"),
        Store(tmp_path / "file").session(),
    ):
        pass


def test_copies_are_hashed_as_they_arrived(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 1000)
    seen: list[int] = []
    assert copy_verified(tmp_path / "a", tmp_path / "b", seen.append) == hash_file(tmp_path / "b")
    assert sum(seen) == 3000
    _, size = copy_verified(tmp_path / "a", tmp_path / "c", limit=10)
    assert size > 10
    with pytest.raises(FileNotFoundError):
        copy_verified(tmp_path / "none", tmp_path / "d")


def test_shared_bytes_are_read_only(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "a").chmod(0o444)
    share(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"abc"
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize(("size", "shown"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 40, "3.0 TiB")])
def test_sizes_for_people(size: int, shown: str) -> None:
    assert human(size) == shown


def test_downloads_that_nobody_goes_on_with_are_swept(filled: Built) -> None:
    store = filled.store
    known = filled.images[0].layers[0].artifacts[0].sha256
    for name, data in ((known, b"part"), ("12" * 32, b""), (HEX, b"part")):
        (store.partial / name).write_bytes(data)
    busy = store.partial / ("34" * 32)
    handle = locks.acquire(busy)
    try:
        with store.session():
            assert {p.name for p in store.partial.iterdir()} == {HEX, busy.name}, "what came is kept for the next time"
    finally:
        os.close(handle)


def test_what_a_killed_build_left_goes_with_the_next_one_though_there_is_nothing_to_build(filled: Built) -> None:
    left = filled.store.tmp / "session-dead"
    left.mkdir()
    (left / "1-layer").write_bytes(b"x")
    (left / "owner").touch()
    assert filled.store.unswept()
    filled.again()
    assert not left.exists()
    left.mkdir()
    assert filled.store.verify().ok
    assert not filled.store.unswept()
