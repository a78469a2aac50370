"""Exported images: a layout that stands by itself and is read by the tools of others."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from flyte_build.delivery.layout import export_layout
from flyte_build.kernel.errors import InputError, StoreError
from flyte_build.store import Store
from flyte_build.store.built import BuiltImage
from tests.support.tools import need


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_folder_holds_the_images_and_nothing_else(store: Store, built: list[BuiltImage], tmp_path: Path) -> None:
    out = export_layout(store, built[:1], tmp_path / "deep/out")
    found = tree(out)
    index = json.loads(found.pop("index.json"))
    assert json.loads(found.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    assert [m["digest"] for m in index["manifests"]] == [built[0].manifest_digest]
    assert len(found) == 4
    for name, data in found.items():
        assert name == "blobs/sha256/" + hashlib.sha256(data).hexdigest()


def test_the_output_depends_on_the_images_alone(store: Store, built: list[BuiltImage], tmp_path: Path) -> None:
    one = export_layout(store, built, tmp_path / "one")
    two = export_layout(store, reversed(built), tmp_path / "two")
    assert tree(one) == tree(two)


def test_a_layout_is_replaced_and_an_empty_folder_used(store: Store, built: list[BuiltImage], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export_layout(store, built, out)
    export_layout(store, built[:1], out)
    assert tree(out) == tree(export_layout(store, built[:1], tmp_path / "other"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "out", "store", "wheels"]


def test_other_folders_and_files_are_refused_and_untouched(
    store: Store, built: list[BuiltImage], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    for name in ("mine", "file", "link"):
        with pytest.raises(InputError, match=f"{name}: expected"):
            export_layout(store, built, tmp_path / name)
    assert (tmp_path / "mine/thesis.txt").read_text() == "years of work"


def test_a_blob_that_is_gone_is_an_error_that_leaves_nothing(
    store: Store, built: list[BuiltImage], tmp_path: Path
) -> None:
    store.blob_path(built[0].layers[0].digest).unlink()
    with pytest.raises(StoreError, match="expected the blob"):
        export_layout(store, built, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store", "wheels"]


def run(program: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [need(program), *(str(a) for a in arguments)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.integration
@pytest.mark.parametrize("where", ["store", "exported"])
def test_skopeo_and_umoci_read_it(store: Store, built: list[BuiltImage], tmp_path: Path, where: str) -> None:
    oci = store.oci if where == "store" else export_layout(store, built, tmp_path / "out")
    for image in built:
        name = f"{image.environment}-linux-amd64"
        said = json.loads(run("skopeo", "inspect", f"oci:{oci}:{name}"))
        assert said["Digest"] == image.manifest_digest
        assert said["Layers"] == [layer.digest for layer in image.layers]
        run("skopeo", "copy", f"oci:{oci}:{name}", f"oci:{tmp_path}/copy-{name}:{name}")
    assert run("umoci", "list", "--layout", oci).split() == ["one-linux-amd64", "two-linux-amd64"]
    run("umoci", "raw", "unpack", "--rootless", "--image", f"{oci}:one-linux-amd64", tmp_path / "rootfs")
    assert (tmp_path / "rootfs/home/flyte/main.py").read_bytes() == b"x = 1\n"
    assert store.verify().ok
