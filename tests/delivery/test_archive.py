"""Archives of images: what is in them, that they are the same each time, and that they are whole or not there."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import resource
import tarfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.delivery import tarball
from flyte_build.delivery.archive import image_name, write_archive
from flyte_build.delivery.tarball import Member, head, member
from flyte_build.kernel.errors import InputError, StoreError
from flyte_build.kernel.reporting import Recorder, Silent
from flyte_build.store import Store
from flyte_build.store.built import BuiltImage

# The grammar of names and tags in distribution-spec v1.1, "Pulling manifests".
NAME = re.compile(
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"
)
D = "sha256:" + "0123456789abcdef" * 4


def contents(path: Path) -> dict[str, bytes]:
    with tarfile.open(path, "r:") as tar:
        return {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]


@given(st.text(min_size=1, max_size=300))
def test_every_environment_has_a_name_that_engines_take(environment: str) -> None:
    found = image_name(environment, D)
    assert NAME.fullmatch(found)
    assert len(found) < 255
    assert found.endswith(":0123456789ab")


def test_usual_names_stay() -> None:
    assert image_name("msa_env", D) == "flyte-build/msa_env:0123456789ab"
    assert image_name("Fold.Env", D) == "flyte-build/fold.env:0123456789ab"
    assert image_name("größe 1", D) == "flyte-build/gr-e-1:0123456789ab"


def test_docker_finds_configuration_and_layers(store: Store, built: list[BuiltImage], tmp_path: Path) -> None:
    """What `docker load` does with the file, done here by hand."""
    held = contents(write_archive(store, built, tmp_path / "out.tar", Silent(), docker=True))
    rows = json.loads(held["manifest.json"])
    assert [row["RepoTags"] for row in rows] == [[image_name(b.environment, b.derivation)] for b in built]
    for row, image in zip(rows, built, strict=True):
        config = json.loads(held[row["Config"]])
        diff_ids = ["sha256:" + hashlib.sha256(gzip.decompress(held[path])).hexdigest() for path in row["Layers"]]
        assert diff_ids == config["rootfs"]["diff_ids"] == [layer.diff_id for layer in image.layers]
    assert "repositories" not in held


def test_it_is_a_layout_too_and_nothing_is_there_twice(store: Store, built: list[BuiltImage], tmp_path: Path) -> None:
    held = contents(write_archive(store, built, tmp_path / "out.tar", Silent(), docker=True))
    assert json.loads(held["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    entries = json.loads(held["index.json"])["manifests"]
    assert [e["digest"] for e in entries] == [b.manifest_digest for b in built]
    names = [e["annotations"]["io.containerd.image.name"] for e in entries]
    assert names == [f"docker.io/{image_name(b.environment, b.derivation)}" for b in built]
    blobs = {name: data for name, data in held.items() if name.startswith("blobs/")}
    assert len(blobs) == len(held) - 3 == 2 + 2 + 3
    for name, data in blobs.items():
        assert name == "blobs/sha256/" + hashlib.sha256(data).hexdigest()
    plain = contents(write_archive(store, built, tmp_path / "plain.tar", Silent(), docker=False))
    assert {*held} - {*plain} == {"manifest.json"}


def test_one_image_with_two_names_is_listed_once(store: Store, built: list[BuiltImage], tmp_path: Path) -> None:
    images = [built[0], replace(built[0], environment="other")]
    rows = json.loads(
        contents(write_archive(store, images, tmp_path / "out.tar", Silent(), docker=True))["manifest.json"]
    )
    (row,) = rows
    assert row["RepoTags"] == sorted(image_name(i.environment, i.derivation) for i in images)


@pytest.mark.parametrize("docker", [True, False])
def test_the_bytes_depend_on_the_images_alone(
    store: Store, built: list[BuiltImage], tmp_path: Path, docker: bool
) -> None:
    one = write_archive(store, built, tmp_path / "one.tar", Silent(), docker=docker)
    other = write_archive(store, built[::-1], tmp_path / "other.tar", Silent(), docker=docker)
    assert one.read_bytes() == other.read_bytes()
    reporter = Recorder()
    write_archive(store, built, one, reporter, docker=docker)
    assert one.read_bytes() == other.read_bytes()
    assert reporter.titles == ["write one.tar"]


def test_a_golden_archive(tmp_path: Path) -> None:
    """Fails when the form of our archives changes."""
    long = "locks/" + "ü" * 120 + ".json"
    members = [member("a", b"x" * 513), member("blobs/sha256/" + "0" * 64, b""), member(long, b"{}")]
    digest = tarball.write(tmp_path / "out.tar", members, Silent(), "test")
    data = (tmp_path / "out.tar").read_bytes()
    assert len(data) == tarball.total(members)
    found = {name: len(c) for name, c in contents(tmp_path / "out.tar").items()}
    assert found == {"a": 513, members[1].path: 0, long: 2}
    assert digest == hashlib.sha256(data).hexdigest()
    assert digest == "e4b7dea6d769e7615c6eb67ac014bdb19a9ca3dd64af97d189f2bc94dcc9375e"


@pytest.mark.parametrize("size", [0, 1, 8 << 30, 123 << 30])
def test_any_size_can_be_said(size: int) -> None:
    with tarfile.open(fileobj=io.BytesIO(head("x", size) + bytes(1024)), mode="r:", ignore_zeros=False) as tar:
        found = tar.next()
    assert found is not None
    assert (found.name, found.size, found.isreg(), found.mode, found.uid, found.mtime) == (
        "x",
        size,
        True,
        0o644,
        0,
        315532800,
    )


@pytest.mark.parametrize("size", [5_000, 5_000_000], ids=["in the buffer", "larger than the buffer"])
def test_a_full_disk_is_an_error_and_nothing_is_left(tmp_path: Path, size: int) -> None:
    """A limit on the size of files stands for the disk's."""
    target = tmp_path / "out" / "out.tar"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(StoreError, match=r"out\.tar: no space left"):
            tarball.write(target, [member("a", bytes(size))], Silent(), "test")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("damage", ["other", "short", "long", "gone"])
def test_an_archive_with_a_damaged_blob_is_never_finished(
    store: Store, built: list[BuiltImage], tmp_path: Path, damage: str
) -> None:
    blob = store.blob_path(built[0].layers[0].digest)
    data = blob.read_bytes()
    members = [Member("x", len(data), hashlib.sha256(data).hexdigest(), blob)]
    blob.unlink()
    broken = {"other": data[:-1] + b"?", "short": data[:-1], "long": data + b"x"}
    if damage != "gone":
        blob.write_bytes(broken[damage])
    (tmp_path / "out.tar").write_bytes(tarball_before := b"".join(tarball.stream([])))
    with pytest.raises(StoreError, match=r"expected \d+ bytes with SHA-256|cannot be read"):
        tarball.write(tmp_path / "out.tar", members, Silent(), "test")
    assert (tmp_path / "out.tar").read_bytes() == tarball_before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.tar", "store", "wheels"]


def test_a_missing_blob_is_said_before_anything_is_written(
    store: Store, built: list[BuiltImage], tmp_path: Path
) -> None:
    store.blob_path(built[1].layers[1].digest).unlink()
    with pytest.raises(StoreError, match="two: expected the blob sha256:") as e:
        write_archive(store, built, tmp_path / "new/out.tar", Silent(), docker=True)
    assert "`flyte-build build` makes it anew" in str(e.value.hint)
    assert not (tmp_path / "new").exists()


def test_what_is_no_archive_is_not_replaced(store: Store, built: list[BuiltImage], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "thesis.txt")
    for name in ("thesis.txt", "folder", "link"):
        with pytest.raises(InputError, match=f"{name}: expected"):
            write_archive(store, built, tmp_path / name, Silent(), docker=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    (tmp_path / "empty").touch()
    assert write_archive(store, built, tmp_path / "empty", Silent(), docker=True).stat().st_size > 10_000


def test_a_disk_that_refuses_is_a_store_error(store: Store, built: list[BuiltImage], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file"):
        write_archive(store, built, tmp_path / "file/below/out.tar", Silent(), docker=True)


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    big = tmp_path / "big"
    data = bytes(1 << 20)
    digest = hashlib.sha256()
    with big.open("wb") as f:
        for _ in range(64):
            f.write(data)
            digest.update(data)
    one = Member("big", 64 << 20, digest.hexdigest(), big)
    tracemalloc.start()
    try:
        tarball.write(tmp_path / "out.tar", [one], Silent(), "test")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
