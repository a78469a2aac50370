"""Images on registry bases on their way: what nobody can make goes with them, whatever else is left out."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_build.assemble.image import LAYER_TYPE, canonical
from flyte_build.assemble.version import ASSEMBLER
from flyte_build.delivery.archive import write_archive
from flyte_build.delivery.layout import export_layout
from flyte_build.delivery.unbundle import unbundle
from flyte_build.deriving.derivation import ImageDerivation, LayerDerivation
from flyte_build.kernel.errors import ArtifactError, StoreError
from flyte_build.kernel.reporting import Silent
from flyte_build.store import Store
from tests.support.bundles import Site, pack, unpack
from tests.support.images import image_of, noise, wheel_layer

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
TAR = noise(30_000) + bytes(2288)


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def base_layer(blob: bytes, media_type: str = LAYER_TYPE) -> LayerDerivation:
    spec = {"kind": "base", "assembler": ASSEMBLER, "title": "the base", "media_type": media_type}
    return LayerDerivation({**spec, "digest": sha(blob), "size": len(blob), "diff_id": sha(TAR)}, ())


def pulled(store: Store, *blobs: bytes) -> None:
    with store.session() as session:
        for blob in blobs:
            session.put_blob(blob)


@pytest.fixture
def on_base(tmp_path: Path) -> Site:
    """One image on a base of two layers, one of them without compression."""
    wheels, store = tmp_path / "wheels", Store(tmp_path / "store")
    wheels.mkdir()
    blob = gzip.compress(TAR, mtime=0)
    pulled(store, blob, TAR)
    lower, upper = base_layer(blob), base_layer(TAR, LAYER_TYPE.removesuffix("+gzip"))
    return Site(store, wheels, [image_of("env", [lower, upper, wheel_layer(wheels, "alpha")])])


@pytest.fixture
def as_is(tmp_path: Path) -> Site:
    """An image that is its base: another's manifest of Docker's kind, and another's configuration."""
    store = Store(tmp_path / "store")
    blob = gzip.compress(TAR, mtime=0)
    config = canonical(
        {"architecture": "amd64", "os": "linux", "author": "somebody", "rootfs": {"diff_ids": [sha(TAR)]}}
    )
    described = {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "digest": sha(config),
        "size": len(config),
    }
    layer = {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": sha(blob), "size": len(blob)}
    manifest = canonical({"schemaVersion": 2, "mediaType": DOCKER, "config": described, "layers": [layer]})
    pulled(store, blob, config, manifest)
    made = image_of("as_is", [base_layer(blob)])
    said = {"mediaType": DOCKER, "digest": sha(manifest), "size": len(manifest)}
    verbatim = {"reference": f"registry.example/x@{sha(manifest)}", "manifest": said, "config": described}
    spec = {**made.spec, "verbatim": verbatim}
    return Site(store, tmp_path, [ImageDerivation(made.environment, made.platform, made.layers, spec)])


@pytest.mark.parametrize("kind", ["on_base", "as_is"])
@pytest.mark.parametrize("images", [True, False])
def test_the_base_goes_with_the_bundle(kind: str, images: bool, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    here: Site = request.getfixturevalue(kind)
    first = here.bundle(tmp_path / "first", images=images)
    there = Store(tmp_path / "there")
    done = unbundle(there, first.path, tmp_path / "lockfiles", Silent(), verify=images)
    assert len(done.images) == int(images)
    other = Site(there, tmp_path / "nowhere", here.images)
    assert [b.manifest_digest for b in other.built] == [b.manifest_digest for b in here.built]
    assert [b.reused for b in other.built] == [images]
    assert there.verify().ok
    second = other.bundle(tmp_path / "second", images=images)
    assert second.path.read_bytes() == first.path.read_bytes()


def test_a_base_that_is_gone_is_said(on_base: Site, tmp_path: Path) -> None:
    on_base.store.blob_path(sha(TAR)).unlink()
    for images in (True, False):
        with pytest.raises(StoreError, match=f"env: expected the blob {sha(TAR)}"):
            on_base.bundle(tmp_path / "x", images=images)


def test_a_base_that_is_not_the_locked_one_is_refused(on_base: Site, tmp_path: Path) -> None:
    """A blob cannot be another than its name, but it can unpack to something else than the derivation says."""
    path = on_base.bundle(tmp_path / "x").path
    index, held = unpack(path)
    assert json.loads(held[f"derivations/{index.images[0].derivation[7:]}"])["layers"][0]["kind"] == "base"
    blob = gzip.compress(TAR[:-1] + b"!", mtime=0)
    lying = image_of("env", [base_layer(blob), *on_base.images[0].layers[1:]])
    elsewhere = Store(tmp_path / "elsewhere")
    pulled(elsewhere, blob, TAR)
    bad = Site(elsewhere, on_base.wheels, [lying])
    with pytest.raises(ArtifactError, match=r"`the base`.*expected the diff_id"):
        unbundle(Store(tmp_path / "there"), bad.bundle(tmp_path / "bad").path, tmp_path / "lockfiles", Silent())
    pack(path, index.images, {name: data for name, data in held.items() if name != f"blobs/{sha(TAR)[7:]}"})
    with pytest.raises(ArtifactError, match=f"the layer {sha(TAR)} of"):
        unbundle(Store(tmp_path / "there2"), path, tmp_path / "lockfiles", Silent())


def test_the_store_and_an_export_say_what_kind_of_manifest_they_hold(as_is: Site, tmp_path: Path) -> None:
    [entry] = as_is.store.index()["manifests"]
    said = as_is.images[0].spec["verbatim"]["manifest"]  # type: ignore[index,call-overload]
    assert {key: entry[key] for key in said} == said
    out = export_layout(as_is.store, as_is.built, tmp_path / "out")
    assert json.loads((out / "index.json").read_bytes())["manifests"] == [entry]


def test_an_entry_that_an_earlier_version_wrote_is_put_right(as_is: Site) -> None:
    right = as_is.store.index()
    wrong = {**right["manifests"][0], "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    with as_is.store.session() as session:
        session.put_index({**right, "manifests": [wrong]})
    Site(as_is.store, as_is.wheels, as_is.images)
    assert as_is.store.index() == right


@pytest.mark.parametrize("read", [lambda e: e["mediaType"], lambda e: e["digest"]])
def test_an_archive_says_what_kind_of_manifest_it_holds(
    as_is: Site, tmp_path: Path, read: Callable[[dict[str, str]], str]
) -> None:
    path = write_archive(as_is.store, as_is.built, tmp_path / "out.tar", Silent(), docker=True)
    with tarfile.open(path) as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
    said = as_is.images[0].spec["verbatim"]["manifest"]  # type: ignore[index,call-overload]
    assert read(index["manifests"][0]) == read(said)
