"""Layouts of others: taken in by their digests, believed about nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyte_build.delivery.adopting import adopt, is_layout
from flyte_build.delivery.layout import export_layout
from flyte_build.kernel.errors import ArtifactError, InputError
from flyte_build.kernel.reporting import Silent
from flyte_build.store import Store, layout
from flyte_build.store.built import BuiltImage


@pytest.fixture
def folder(store: Store, built: list[BuiltImage], tmp_path: Path) -> Path:
    return export_layout(store, built, tmp_path / "layout")


@pytest.fixture
def fresh(tmp_path: Path) -> Store:
    return Store(tmp_path / "fresh")


def test_only_oci_and_a_folder_mean_a_layout() -> None:
    assert is_layout("oci:out")
    assert is_layout(Path("oci:out"))
    assert not is_layout("oci.py")


def test_all_blobs_are_there_and_names_are_the_environments(
    folder: Path, fresh: Store, built: list[BuiltImage]
) -> None:
    found = adopt(folder, fresh, Silent())
    assert [(i.environment, i.platform, i.manifest_digest, i.derivation, i.size) for i in found] == [
        (i.environment, i.platform, i.manifest_digest, i.derivation, i.size) for i in built
    ]
    for image, original in zip(found, built, strict=True):
        assert [x.digest for x in image.layers] == [x.digest for x in original.layers]
        assert all(fresh.blob(x.digest, x.size) for x in image.layers)


def test_a_claim_about_a_derivation_is_not_believed(folder: Path, fresh: Store, built: list[BuiltImage]) -> None:
    adopt(folder, fresh, Silent())
    assert fresh.image(built[0].derivation) is None
    assert fresh.tags() == {}


def test_the_folder_is_not_shared_with_the_store(folder: Path, fresh: Store, built: list[BuiltImage]) -> None:
    adopt(folder, fresh, Silent())
    digest = built[0].manifest_digest
    (folder / "blobs/sha256" / digest.removeprefix("sha256:")).chmod(0o644)
    (folder / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(b"changed")
    assert fresh.manifest(digest) is not None


def test_a_name_is_for_one_image_a_platform(
    folder: Path, fresh: Store, built: list[BuiltImage], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="two images would be mine on linux/"):
        adopt(folder, fresh, Silent(), name="mine")
    one = export_layout(Store(tmp_path / "store"), built[:1], tmp_path / "one")
    assert [i.environment for i in adopt(one, fresh, Silent(), name="mine")] == ["mine"]


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    index = json.loads((folder / "index.json").read_bytes())
    change(index)
    (folder / "index.json").write_bytes(json.dumps(index).encode())


def test_without_a_name_one_is_asked_for(folder: Path, fresh: Store) -> None:
    edit(folder, lambda index: [m.pop("annotations") for m in index["manifests"]])
    with pytest.raises(InputError, match="has no name") as caught:
        adopt(folder, fresh, Silent())
    assert "--name" in (caught.value.hint or "")


def test_an_index_below_the_index_is_looked_into(folder: Path, fresh: Store, built: list[BuiltImage]) -> None:
    import hashlib

    index = json.loads((folder / "index.json").read_bytes())
    inner = json.dumps({**index, "manifests": [{k: v for k, v in index["manifests"][0].items() if k != "annotations"}]})
    digest = hashlib.sha256(inner.encode()).hexdigest()
    (folder / "blobs/sha256" / digest).write_text(inner)
    row = {"mediaType": layout.INDEX, "digest": f"sha256:{digest}", "size": len(inner)}
    edit(folder, lambda index: index.update(manifests=[row | {"annotations": {layout.REF_NAME: "many"}}]))
    (found,) = adopt(folder, fresh, Silent())
    assert (found.environment, found.manifest_digest) == ("many", built[0].manifest_digest)
    assert found.derivation == built[0].manifest_digest, "whose derivation nobody knows is called by its digest"


def test_a_blob_that_is_another_is_refused_and_does_not_stay(
    folder: Path, fresh: Store, built: list[BuiltImage]
) -> None:
    digest = built[0].layers[0].digest
    path = folder / "blobs/sha256" / digest.removeprefix("sha256:")
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + b"x")
    with pytest.raises(ArtifactError, match=f"expected {len(data)} bytes of {digest}, found"):
        adopt(folder, fresh, Silent())
    assert fresh.blob(digest) is None
    path.unlink()
    with pytest.raises(ArtifactError, match=f"the blob {digest} is missing"):
        adopt(folder, fresh, Silent())


@pytest.mark.parametrize("digest", ["sha256:../../etc/passwd", "md5:" + "0" * 64, "sha256:", "x"])
def test_a_digest_that_is_a_path_is_refused(folder: Path, fresh: Store, digest: str) -> None:
    edit(folder, lambda index: index["manifests"][0].update(digest=digest))
    with pytest.raises(ArtifactError, match=r"expected a SHA-256 digest|is missing"):
        adopt(folder, fresh, Silent())


def test_a_folder_that_is_no_layout_is_refused(tmp_path: Path, fresh: Store) -> None:
    with pytest.raises(InputError, match="expected an OCI image layout"):
        adopt(tmp_path, fresh, Silent())
    (tmp_path / "oci-layout").write_bytes(layout.LAYOUT)
    (tmp_path / "index.json").write_bytes(layout.dump(layout.empty_index()))
    with pytest.raises(InputError, match="a layout without any"):
        adopt(tmp_path, fresh, Silent())
