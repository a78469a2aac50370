"""Bundles there and back: what is in one, that it is the same each time, and that the other site has it all."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyte_build.building.building import build
from flyte_build.delivery.format import INDEX, parse_index
from flyte_build.delivery.unbundle import unbundle
from flyte_build.kernel.errors import InputError, LockError, StoreError
from flyte_build.kernel.reporting import Recorder, Silent
from flyte_build.locks.lockfile import lock_path, read
from flyte_build.planning.checks import Contents
from flyte_build.store import Store
from tests.support.bundles import Site, unpack
from tests.support.images import files_layer, image_of
from tests.support.recipes import wheel


class Nowhere:
    def places(self, artifact: object) -> object:
        raise AssertionError(f"asked for {artifact}")

    def close(self) -> None:
        return None


@pytest.fixture
def there(tmp_path: Path) -> Store:
    """The store of the other site, empty."""
    return Store(tmp_path / "there")


def test_everything_is_in_it_once_by_its_hash(site: Site, tmp_path: Path) -> None:
    made = site.bundle(tmp_path / "x.fbundle")
    with tarfile.open(made.path, "r:") as tar:
        held = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    assert next(iter(held)) == INDEX
    assert list(held)[1:] == [entry.path for entry in parse_index(held[INDEX], "x").entries]
    folders = [name.partition("/")[0] for name in held]
    assert {f: folders.count(f) for f in folders[1:]} == {"locks": 2, "derivations": 2, "artifacts": 3, "blobs": 7}
    for name, data in held.items():
        if not name.startswith(("locks/", INDEX)):
            assert name.rpartition("/")[2] == hashlib.sha256(data).hexdigest()
    assert made.size == made.path.stat().st_size
    assert made.sha256 == hashlib.sha256(made.path.read_bytes()).hexdigest()


def test_images_are_there_and_nothing_is_assembled(site: Site, there: Store, tmp_path: Path) -> None:
    done = unbundle(there, site.bundle(tmp_path / "x.fbundle").path, tmp_path / "lockfiles", Silent())
    assert [(i.environment, i.manifest) for i in done.images] == [
        (b.environment, b.manifest_digest) for b in site.built
    ]
    assert (done.files, done.new, done.locks) == (14, 10, ("one", "two"))
    built = build(site.images, there, locator=Nowhere(), reporter=Silent())  # type: ignore[arg-type]
    assert [b.manifest_digest for b in built] == [b.manifest_digest for b in site.built]
    assert all(b.reused for b in built)
    assert there.tags() == site.store.tags()
    assert there.verify().ok
    for image in site.images:
        assert there.derivation(image.hash) == site.store.derivation(image.hash)
        for layer in image.layers:
            assert there.layer(layer.hash) == site.store.layer(layer.hash)
            assert there.listing(layer.hash) == site.store.listing(layer.hash)
        assert read(tmp_path / "lockfiles", image.environment) == site.locks()[image.environment]


def test_without_images_they_are_made_of_the_artifacts(site: Site, there: Store, tmp_path: Path) -> None:
    made = site.bundle(tmp_path / "x.fbundle", images=False)
    assert made.index.within("blobs") == []
    done = unbundle(there, made.path, tmp_path / "lockfiles", Silent())
    assert done.images == ()
    assert there.tags() == {}
    built = build(site.images, there, locator=Nowhere(), reporter=Silent())  # type: ignore[arg-type]
    assert [b.manifest_digest for b in built] == [b.manifest_digest for b in site.built]
    assert not any(b.reused for b in built)
    assert there.verify().ok


def test_without_artifacts_images_can_be_used_and_not_verified(site: Site, there: Store, tmp_path: Path) -> None:
    made = site.bundle(tmp_path / "x.fbundle", artifacts=False)
    assert made.index.within("artifacts") == []
    assert [e.path for e in made.index.within("modules")] == [f"modules/{'ab' * 32}.json"]
    with pytest.raises(InputError, match=r"cannot be verified: .* neither in the bundle nor here"):
        unbundle(there, made.path, tmp_path / "lockfiles", Silent(), verify=True)
    assert there.tags() == {}
    assert not (tmp_path / "lockfiles").exists()
    assert len(unbundle(there, made.path, tmp_path / "lockfiles", Silent()).images) == 2
    asked = replace(wheel("alpha"), sha256="ab" * 32)
    assert Contents(there.root, there, None)([asked]) == {asked.sha256: {"alpha", "alpha.core"}}
    assert all(b.reused for b in build(site.images, there, locator=Nowhere(), reporter=Silent()))  # type: ignore[arg-type]


def test_verify_makes_the_images_again(site: Site, there: Store, tmp_path: Path) -> None:
    reporter = Recorder()
    done = unbundle(there, site.bundle(tmp_path / "x.fbundle").path, tmp_path / "lockfiles", reporter, verify=True)
    assert done.verified
    assert reporter.titles == ["read x.fbundle", "assemble", "check layers"]
    assert list(there.tmp.glob("session-*")) == []
    only = site.bundle(tmp_path / "y.fbundle", images=False)
    with pytest.raises(InputError, match="nothing to verify: the bundle holds no images"):
        unbundle(Store(tmp_path / "new"), only.path, tmp_path / "lockfiles", Silent(), verify=True)


def test_twice_is_no_more_than_once(site: Site, there: Store, tmp_path: Path) -> None:
    path = site.bundle(tmp_path / "x.fbundle").path
    unbundle(there, path, tmp_path / "lockfiles", Silent())
    before = {p: p.stat().st_mtime_ns for p in there.blobs.iterdir()}
    again = unbundle(there, path, tmp_path / "lockfiles", Silent())
    assert (again.new, again.locks) == (0, ())
    assert {p: p.stat().st_mtime_ns for p in there.blobs.iterdir()} == before


def test_a_bundle_of_more_adds_to_what_is_there(site: Site, there: Store, tmp_path: Path) -> None:
    small = Site(site.store, site.wheels, site.images[:1])
    unbundle(there, small.bundle(tmp_path / "small").path, tmp_path / "lockfiles", Silent())
    done = unbundle(there, site.bundle(tmp_path / "all").path, tmp_path / "lockfiles", Silent())
    assert done.new == 4, "one artifact, and a layer, a configuration and a manifest"
    assert done.locks == ("two",)
    assert there.tags() == site.store.tags()


def test_locks_that_differ_are_shown_and_kept(site: Site, there: Store, tmp_path: Path) -> None:
    path = site.bundle(tmp_path / "x.fbundle").path
    lockfiles = tmp_path / "lockfiles"
    lockfiles.mkdir()
    mine = site.locks(pinned=False)["two"].text()
    lock_path(lockfiles, "two").write_text(mine)
    with pytest.raises(LockError, match="found others for two") as e:
        unbundle(there, path, lockfiles, Silent())
    assert "--force" in str(e.value.hint)
    assert "+++ the bundle's\n" in str(e.value.detail)
    assert '+  "pins": {' in str(e.value.detail)
    assert lock_path(lockfiles, "two").read_text() == mine
    assert [*there.blobs.iterdir(), *there.artifacts.iterdir(), *there.realisations.iterdir()] == []
    assert not lock_path(lockfiles, "one").exists()
    assert unbundle(there, path, lockfiles, Silent(), force=True).locks == ("one", "two")
    assert read(lockfiles, "two") == site.locks()["two"]


def test_a_bundle_replaces_a_bundle_and_nothing_else(site: Site, tmp_path: Path) -> None:
    site.bundle(tmp_path / "x.fbundle")
    site.bundle(tmp_path / "x.fbundle", images=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store", "wheels", "x.fbundle"]


def test_what_the_store_lacks_is_named(site: Site, tmp_path: Path) -> None:
    artifact = next(iter(site.images[0].artifacts.values()))
    site.store.artifact_path(artifact.sha256).unlink()
    with pytest.raises(StoreError, match=f"one: expected {artifact.file} .* in the store, found none"):
        site.bundle(tmp_path / "x.fbundle")
    site.store.blob_path(site.built[1].layers[1].digest).unlink()
    with pytest.raises(StoreError, match="two: expected the blob"):
        site.bundle(tmp_path / "x.fbundle", artifacts=False)
    assert not (tmp_path / "x.fbundle").exists()


def test_a_damaged_store_gives_no_bundle(site: Site, tmp_path: Path) -> None:
    path = site.store.blob_path(site.built[1].layers[1].digest)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(StoreError, match=r"two: damaged: expected SHA-256"):
        site.bundle(tmp_path / "x.fbundle")
    assert not (tmp_path / "x.fbundle").exists()


def test_memory_does_not_grow_with_the_bundle(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    image = image_of("env", [files_layer(wheels, {f"home/flyte/{n}": bytes([n]) * (8 << 20) for n in range(6)})])
    site = Site(Store(tmp_path / "store"), wheels, [image])
    tracemalloc.start()
    try:
        path = site.bundle(tmp_path / "x.fbundle").path
        unbundle(Store(tmp_path / "there"), path, tmp_path / "lockfiles", Silent())
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 48 << 20


# -- properties --------------------------------------------------------------------------------------

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True) | st.sampled_from(["größe", "a b", "x" * 150])
trees = st.dictionaries(st.from_regex(r"home/flyte/[a-z]{1,3}", fullmatch=True), st.binary(max_size=600), max_size=3)
projects = st.dictionaries(
    st.tuples(names, st.sampled_from(["linux/amd64", "linux/arm64"])),
    st.lists(trees, min_size=1, max_size=3),
    min_size=1,
    max_size=3,
)


def project(folder: Path, wanted: Mapping[tuple[str, str], Sequence[Mapping[str, bytes]]]) -> Site:
    """Images of layers that hold these files."""
    images = []
    for number, ((environment, platform), layers) in enumerate(sorted(wanted.items())):
        folders = [folder / f"{number}-{place}" for place in range(len(layers))]
        made = [files_layer(f, files, f"copy {f.name}") for f, files in zip(folders, layers, strict=True)]
        images.append(image_of(environment, made, platform))
    sources = folder / "all"
    for number, layers in enumerate(wanted[key] for key in sorted(wanted)):
        for place in range(len(layers)):
            if (folder / f"{number}-{place}").is_dir():
                shutil.copytree(folder / f"{number}-{place}", sources, dirs_exist_ok=True)
    return Site(Store(folder / "store"), sources, images)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(projects, st.booleans(), st.booleans())
def test_a_bundle_of_what_came_out_of_a_bundle_is_the_same_bundle(
    wanted: dict[tuple[str, str], list[dict[str, bytes]]], images: bool, verify: bool
) -> None:
    # The locator here knows files by their paths alone, so no two may have one path.
    seen: set[str] = set()
    for layers in wanted.values():
        for files in layers:
            for path in [p for p in files if p in seen]:
                del files[path]
            seen |= files.keys()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        here = project(folder, wanted)
        first = here.bundle(folder / "first", images=images)
        there = Store(folder / "there")
        unbundle(there, first.path, folder / "lockfiles", Silent(), verify=verify and images)
        other = Site(there, folder / "nowhere", here.images)
        assert [b.manifest_digest for b in other.built] == [b.manifest_digest for b in here.built]
        assert [b.reused for b in other.built] == [images] * len(here.images)
        second = other.bundle(folder / "second", images=images)
        assert second.path.read_bytes() == first.path.read_bytes()
        index, held = unpack(second.path)
        assert {e.path: e.size for e in index.entries} == {path: len(data) for path, data in held.items()}
        assert there.verify().ok
