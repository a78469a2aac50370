"""Bundles whose contents lie, under an index that is right about them. The store and the locks stay valid."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble.image import image_config, image_manifest
from flyte_build.assemble.layer import LayerResult
from flyte_build.assemble.version import ASSEMBLER
from flyte_build.delivery import tarball
from flyte_build.delivery.format import BundledImage, Index, parse_index
from flyte_build.delivery.unbundle import unbundle
from flyte_build.deriving.derivation import ImageDerivation
from flyte_build.kernel.canonical import canonical
from flyte_build.kernel.errors import ArtifactError, LockError, PinError
from flyte_build.kernel.reporting import Recorder, Silent
from flyte_build.store import Store
from tests.support.bundles import Site, pack, unpack
from tests.support.images import files_layer, image_of

from .conftest import refused


def repacked(
    path: Path, images: Callable[[tuple[BundledImage, ...]], list[BundledImage]], **changes: bytes | None
) -> None:
    """The bundle with other images and other contents, under an index that is right about them."""
    index, held = unpack(path)
    held.update({name: data for name, data in changes.items() if data is not None})
    for name in [n for n, data in changes.items() if data is None]:
        del held[name]
    pack(path, images(index.images), held)


def same(images: tuple[BundledImage, ...]) -> list[BundledImage]:
    return list(images)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{}", "expected"),
        (b"\xff", "expected a lock"),
        (b"[" * 50_000, "nested more than 100 deep"),
        (b"not json", ""),
    ],
    ids=["empty", "no text", "deep", "no JSON"],
)
def test_locks_that_are_none(good: Path, there: Store, tmp_path: Path, data: bytes, said: str) -> None:
    repacked(good, same, **{"locks/one.json": data})
    with pytest.raises((LockError, ArtifactError), match=r"good.fbundle: locks/one.json") as e:
        unbundle(there, good, tmp_path / "lockfiles", Silent())
    assert said in e.value.message
    assert not (tmp_path / "lockfiles").exists()


def test_the_lock_of_another_environment(good: Path, there: Store, tmp_path: Path) -> None:
    _, held = unpack(good)
    repacked(good, same, **{"locks/one.json": held["locks/two.json"]})
    error = refused(there, good, tmp_path / "lockfiles")
    assert "expected the lock of environment one, found that of two" in error.message


def test_images_that_are_not_their_derivations(good: Path, there: Store, tmp_path: Path) -> None:
    def swapped(images: tuple[BundledImage, ...]) -> list[BundledImage]:
        one, two = images
        return [replace(one, manifest=two.manifest), replace(two, manifest=one.manifest)]

    repacked(good, swapped)
    error = refused(there, good, tmp_path / "lockfiles")
    assert isinstance(error, ArtifactError)
    assert "one on linux/amd64" in error.message


def test_an_image_for_another_platform(good: Path, there: Store, tmp_path: Path) -> None:
    repacked(good, lambda images: [replace(images[0], platform="linux/arm64"), images[1]])
    assert "expected a derivation for linux/arm64, found linux/amd64" in refused(there, good, tmp_path / "l").message


def test_an_image_without_one_of_its_blobs(site: Site, good: Path, there: Store, tmp_path: Path) -> None:
    layer = site.built[0].layers[1].digest
    repacked(good, same, **{f"blobs/{layer[7:]}": None})
    assert f"the layer {layer} of" in refused(there, good, tmp_path / "lockfiles").message
    config = json.loads(unpack(good)[1][f"blobs/{site.built[0].manifest_digest[7:]}"])["config"]["digest"]
    repacked(good, same, **{f"blobs/{config[7:]}": None})
    other = Store(tmp_path / "other")
    assert f"the blob {config} is not in it" in refused(other, good, tmp_path / "lockfiles").message


@pytest.mark.parametrize("data", [b"{}", b"null", b'{"schema": 1, "layers": 3}', b"[" * 50_000])
def test_derivations_that_are_none(good: Path, there: Store, tmp_path: Path, data: bytes) -> None:
    name = tarball.member("x", data).sha256
    index, held = unpack(good)
    images = [replace(index.images[0], derivation=f"sha256:{name}"), index.images[1]]
    pack(good, images, {**held, f"derivations/{name}": data})
    assert f"derivations/{name}: expected a derivation" in refused(there, good, tmp_path / "lockfiles").message


def test_a_derivation_in_another_form(site: Site, good: Path, there: Store, tmp_path: Path) -> None:
    data = json.dumps(site.images[0].spec, indent=1).encode()
    name = tarball.member("x", data).sha256
    index, held = unpack(good)
    pack(
        good,
        [replace(index.images[0], derivation=f"sha256:{name}"), index.images[1]],
        {**held, f"derivations/{name}": data},
    )
    assert "in canonical JSON" in refused(there, good, tmp_path / "lockfiles").message


def impostor(site: Site, path: Path, tmp_path: Path, *, diff_id: str | None = None, blob: bytes | None = None) -> None:
    """Image ``one`` with another second layer under its own derivation, documents and all."""
    other = Site(Store(tmp_path / "evil"), site.wheels, [evil_image(site)])
    real = site.built[0].layers[0]
    (bad,) = [layer for layer in other.built[0].layers if layer.digest != real.digest]
    data = other.store.blob_path(bad.digest).read_bytes() if blob is None else blob
    member = tarball.member("x", data)
    results = [
        LayerResult(real.digest, real.size, real.diff_id, 0, {}),
        LayerResult(f"sha256:{member.sha256}", member.size, diff_id or bad.diff_id, 0, {}),
    ]
    config = image_config(site.images[0].spec, results)
    manifest = image_manifest(site.images[0].spec, config, results)
    index, held = unpack(path)
    held |= {f"blobs/{tarball.member('x', d).sha256}": d for d in (data, config, manifest)}
    locks = site.locks(pinned=False)
    held |= {f"locks/{name}.json": lock.text().encode() for name, lock in locks.items()}
    named = replace(index.images[0], manifest=f"sha256:{tarball.member('x', manifest).sha256}")
    pack(path, [named, index.images[1]], held)


def evil_image(site: Site) -> ImageDerivation:
    shared = site.images[0].layers[0]
    return image_of("one", [shared, files_layer(site.wheels, {"home/flyte/evil.py": b"steal()\n"})])


def test_a_claim_is_believed_and_verify_finds_it_out(site: Site, good: Path, there: Store, tmp_path: Path) -> None:
    """The one thing that cannot be computed from the documents: that a layer is what its derivation makes."""
    impostor(site, good, tmp_path)
    error = refused(there, good, tmp_path / "lockfiles", verify=True)
    assert isinstance(error, PinError)
    assert "one: layer `copy src`: the bundle's image is not what its artifacts make" in error.message
    assert f"expected {site.built[0].layers[1].digest}" in error.message
    done = unbundle(there, good, tmp_path / "lockfiles", Silent())
    assert done.images[0].manifest != site.built[0].manifest_digest


def test_a_layer_whose_diff_id_is_a_lie(site: Site, good: Path, there: Store, tmp_path: Path) -> None:
    impostor(site, good, tmp_path, diff_id="sha256:" + "0" * 64)
    assert "expected the diff_id sha256:000" in refused(there, good, tmp_path / "lockfiles").message


def test_a_layer_that_is_no_tar(site: Site, good: Path, there: Store, tmp_path: Path) -> None:
    impostor(site, good, tmp_path, blob=b"\x1f\x8b no gzip at all")
    assert "expected a layer, a tar stream in gzip" in refused(there, good, tmp_path / "lockfiles").message


def test_a_pin_tells_of_an_image_that_is_not_its_own(site: Site, good: Path, there: Store, tmp_path: Path) -> None:
    index, held = unpack(good)
    impostor(site, good, tmp_path)
    evil, changed = unpack(good)
    pack(good, evil.images, changed | {"locks/one.json": held["locks/one.json"]})
    error = refused(there, good, tmp_path / "lockfiles")
    assert isinstance(error, PinError)
    assert f"its lock pins {index.images[0].manifest}" in error.message
    assert f"the bundle has {evil.images[0].manifest}" in error.message


def test_the_stores_own_image_is_not_replaced(site: Site, good: Path, tmp_path: Path) -> None:
    impostor(site, good, tmp_path)
    before = site.store.tags()
    with pytest.raises(PinError, match=r"expected the image that this store has"):
        unbundle(site.store, good, tmp_path / "lockfiles", Silent())
    assert site.store.tags() == before
    assert not (tmp_path / "lockfiles").exists()


def test_images_of_other_rules_are_left_out(site: Site, good: Path, there: Store, tmp_path: Path) -> None:
    spec: dict[str, Any] = json.loads(canonical(dict(site.images[0].spec)))  # type: ignore[arg-type]
    for layer in spec["layers"]:
        layer["assembler"] = ASSEMBLER + 1
    data = canonical(spec)
    name = tarball.member("x", data).sha256
    index, held = unpack(good)
    images = [replace(index.images[0], derivation=f"sha256:{name}"), index.images[1]]
    pack(good, images, {**held, f"derivations/{name}": data})
    reporter = Recorder()
    done = unbundle(there, good, tmp_path / "lockfiles", reporter)
    assert [i.environment for i in done.images] == ["two"]
    assert reporter.warnings == [
        f"one on linux/amd64 was made by another flyte-build (assembler {ASSEMBLER + 1}, this is {ASSEMBLER}): "
        "its image is not taken"
    ]
    assert there.artifact(next(iter(site.images[0].artifacts))) is not None


@pytest.mark.parametrize("data", [b"{}", b'{"modules":[3],"schema":1}', b'{"modules":"abc","schema":1}', b"[" * 50_000])
def test_modules_that_are_none(good: Path, there: Store, tmp_path: Path, data: bytes) -> None:
    name = f"modules/{'ab' * 32}.json"
    repacked(good, same, **{name: data})
    assert f"{name}: expected a wheel's modules" in refused(there, good, tmp_path / "lockfiles").message


def test_a_good_bundle_is_good(good: Path, there: Store, tmp_path: Path) -> None:
    """What the tests above change: unchanged, it is taken."""
    index, held = unpack(good)
    data = good.read_bytes()
    pack(good, index.images, held)
    assert good.read_bytes() == data
    assert parse_index(index.to_bytes(), "x") == index == Index.of(index.images, index.entries)
    assert len(unbundle(there, good, tmp_path / "lockfiles", Silent()).images) == 2
