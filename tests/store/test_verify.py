"""``store verify``: what is corrupt is found, named and moved aside, and the next build makes it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.store import layout

from .conftest import Built


def damage(path: Path, how: str) -> None:
    path.chmod(0o644)
    data = path.read_bytes()
    if how == "flip":
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    elif how == "cut":
        path.write_bytes(data[:-2])
    else:
        path.unlink()


def test_a_good_store_has_no_findings(filled: Built) -> None:
    report = filled.store.verify()
    assert report.ok
    assert report.files == len(list(filled.store.blobs.iterdir())) + len(list(filled.store.artifacts.iterdir()))
    assert report.size > 0


@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
@pytest.mark.parametrize("what", ["artifact", "layer", "config", "manifest", "realisation", "derivation", "listing"])
def test_damage_is_found_moved_aside_and_made_good(filled: Built, what: str, how: str) -> None:
    store, image, built = filled.store, filled.images[0], filled.built[0]
    manifest = store.manifest(built.manifest_digest)
    assert manifest is not None
    path = {
        "artifact": store.artifact_path(image.layers[1].artifacts[0].sha256),
        "layer": store.blob_path(built.layers[1].digest),
        "config": store.blob_path(manifest["config"]["digest"]),
        "manifest": store.blob_path(built.manifest_digest),
        "realisation": store.realisations / f"{image.layers[1].hash[7:]}.json",
        "derivation": store.realisations / f"{image.hash[7:]}.derivation",
        "listing": store.listings / image.layers[1].hash[7:],
    }[what]
    damage(path, how)
    report = store.verify()
    # A file that is not there and that nothing else refers to is no damage: it would be made again.
    harmless = how == "remove" and what in ("artifact", "realisation", "derivation")
    assert report.ok is harmless
    if not harmless:
        assert any(path.name in str(f) or path.name in f.problem for f in report.findings), report.findings
    if how != "remove":
        assert not path.exists()
        assert len(list(store.corrupt.iterdir())) >= 1
    again = filled.again()
    assert [b.manifest_digest for b in again] == [b.manifest_digest for b in filled.built]
    assert store.verify().ok
    assert set(store.tags().values()) == {b.manifest_digest for b in again}


def test_a_broken_index_is_moved_aside_and_made_again(filled: Built) -> None:
    index = filled.store.oci / "index.json"
    index.write_bytes(b"{oops")
    report = filled.store.verify()
    assert [f.path for f in report.findings] == [index]
    filled.again()
    assert set(filled.store.tags()) == {"one-linux-amd64", "two-linux-amd64"}


def test_a_strangers_broken_image_is_reported_and_left(filled: Built) -> None:
    store = filled.store
    foreign = {"digest": "sha256:" + "0" * 64, "size": 1, "annotations": {layout.REF_NAME: "theirs"}}
    odd = {"digest": 5}
    (store.oci / "index.json").write_bytes(layout.dump({**store.index(), "manifests": [foreign, odd]}))
    problems = " ".join(f.problem for f in store.verify().findings)
    assert "theirs needs sha256:000" in problems
    assert "an image without a name: expected a digest, found 5" in problems
    assert foreign in store.index()["manifests"]


def test_a_file_that_has_no_business_here_is_found(filled: Built) -> None:
    (filled.store.blobs / "README").write_bytes(b"hello")
    [finding] = filled.store.verify().findings
    assert "named by its SHA-256" in finding.problem
    assert finding.moved is not None
    assert finding.moved.read_bytes() == b"hello"
