"""JSON that others could have written into a store: a shape that is none is told, or counts as absent."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any

import pytest

from flyte_build.kernel.errors import StoreError
from flyte_build.store import layout
from flyte_build.store.realisations import ImageRealisation, decode, encode

from .conftest import Built

DIGEST = f"sha256:{'a' * 64}"
GOOD: dict[str, Any] = {"digest": DIGEST, "size": 3}
DEEP = b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
NONE_AT_ALL = [b"", b"[]", b"3", b"null", b"{", b"\xff", b'{"a": NaN}', DEEP]


def test_what_a_manifest_points_to() -> None:
    found = layout.references({"config": GOOD, "layers": [{**GOOD, "size": 4}], "manifests": [{**GOOD, "size": 5}]})
    assert found == [(DIGEST, 3), (DIGEST, 4), (DIGEST, 5)]
    assert layout.references({"config": None, "layers": None}) == layout.references({}) == []


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"layers": 3}, "layers: expected a list, found 3"),
        ({"layers": {"a": 1}}, "layers: expected a list, found {'a': 1}"),
        ({"manifests": "x"}, "manifests: expected a list, found 'x'"),
        ({"config": []}, r"config: expected a descriptor with digest and size, found \[\]"),
        ({"layers": [GOOD, 7]}, r"layers\[1\]: expected a descriptor with digest and size, found 7"),
        ({"layers": [{"digest": DIGEST}]}, r"layers\[0\]: expected a descriptor with digest and size"),
        ({"layers": [{**GOOD, "size": "3"}]}, r"layers\[0\]: expected a descriptor"),
        ({"layers": [{**GOOD, "size": -1}]}, r"layers\[0\]: expected a descriptor"),
        ({"layers": [{**GOOD, "size": True}]}, r"layers\[0\]: expected a descriptor"),
        ({"layers": [{**GOOD, "digest": ["x"]}]}, r"layers\[0\]: expected a descriptor"),
        ({"layers": [{**GOOD, "digest": "sha256:../../x"}]}, r"layers\[0\]: expected a descriptor, found"),
        ({"layers": "x" * 500}, "found 'x{79}…$"),
    ],
)
def test_a_manifest_that_points_to_nothing_is_an_error_of_the_store(document: dict[str, Any], words: str) -> None:
    with pytest.raises(layout.Malformed, match=words) as raised:
        layout.references(document)
    assert isinstance(raised.value, StoreError)
    assert raised.value.exit_code == 9


@pytest.mark.parametrize("data", NONE_AT_ALL)
def test_what_is_no_document_is_absent(data: bytes) -> None:
    assert layout.parse(data) is None
    assert decode(data) is None


@pytest.mark.parametrize(
    "document",
    [{"layers": 3}, {"config": GOOD, "layers": [3]}, {"layers": [{"digest": "x", "size": 1}]}],
)
def test_an_image_whose_manifest_is_malformed_is_none_and_is_made_again(filled: Built, document: Any) -> None:
    store, image = filled.store, filled.images[0]
    data = json.dumps(document).encode()
    name = hashlib.sha256(data).hexdigest()
    (store.blobs / name).write_bytes(data)
    record = store.realisations / f"{image.hash[7:]}.json"
    record.chmod(0o644)
    record.write_bytes(encode(ImageRealisation(f"sha256:{name}", len(data))))
    store.gc(keep_days=0, dry_run=True)
    assert store.realisation(image.hash) is None
    assert any(f"sha256:{name} (an image's manifest: " in f.problem for f in store.verify().findings)
    assert [b.manifest_digest for b in filled.again()] == [b.manifest_digest for b in filled.built]


@pytest.mark.parametrize(
    "data",
    [
        *NONE_AT_ALL,
        b"{}",
        b'{"layers": 3, "spec": {}}',
        b'{"layers": [3], "spec": {}}',
        b'{"layers": [{"hash": 3, "artifacts": []}], "spec": {}}',
        b'{"layers": [{"hash": "x", "artifacts": [3]}], "spec": {}}',
        b'{"layers": [], "spec": []}',
    ],
)
def test_a_derivation_that_is_none(filled: Built, data: bytes) -> None:
    store, image = filled.store, filled.images[0]
    path = store.realisations / f"{image.hash[7:]}.derivation"
    path.chmod(0o644)
    path.write_bytes(zlib.compress(data))
    store.gc(keep_days=30, dry_run=True)
    assert store.derivation(image.hash) is None
    assert any(f.path == path for f in store.verify().findings)


@pytest.mark.parametrize("data", [*NONE_AT_ALL, b'{"usr/x": 3}'])
def test_a_listing_that_is_none(filled: Built, data: bytes) -> None:
    store, layer = filled.store, filled.images[0].layers[1]
    path = store.listings / layer.hash[7:]
    path.chmod(0o644)
    path.write_bytes(zlib.compress(data))
    with pytest.raises(StoreError, match="expected a layer's listing"):
        store.listing(layer.hash)


def test_indexes_in_each_other_without_end(filled: Built) -> None:
    store = filled.store
    entry: dict[str, Any] = GOOD
    chain = []
    for _ in range(1200):
        data = json.dumps({"manifests": [entry]}).encode()
        name = hashlib.sha256(data).hexdigest()
        chain.append(store.blobs / name)
        chain[-1].write_bytes(data)
        entry = {"digest": f"sha256:{name}", "size": len(data)}
    index = store.index()
    (store.oci / "index.json").chmod(0o644)
    (store.oci / "index.json").write_bytes(layout.dump({**index, "manifests": [*index["manifests"], entry]}))
    store.gc(keep_days=0)
    assert all(path.exists() for path in chain), "a stranger's image is kept with all below it"
