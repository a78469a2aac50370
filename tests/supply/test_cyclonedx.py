"""The CycloneDX document: valid by its own schema, the same bytes for the same content, and what is in it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from flyte_build.store import Store
from flyte_build.supply.artifact_metadata import StoredFacts
from flyte_build.supply.cyclonedx import cyclonedx
from flyte_build.supply.packages import Inventory, inventory
from tests.support.documents import bom_of, cyclonedx_mistake
from tests.support.recipes import AMD64, deb, lock_of, recipe_of, wheel
from tests.support.supply import DIGEST, everything

GOLDEN = "da8a59a1f77bdc338d1518f4e4a3ca2cd797b5bbb077d1f0d4a583aba0e0c614"


def of(store: Store, *, with_base: bool = False) -> Inventory:
    return inventory(everything(store, with_base=with_base), AMD64, digest=DIGEST, facts=StoredFacts(store))


def components(data: bytes) -> dict[str, dict[str, Any]]:
    return {c["name"]: c for c in json.loads(data)["components"]}


@pytest.mark.parametrize("with_base", [False, True])
def test_it_is_valid(with_base: bool, store: Store) -> None:
    image = of(store, with_base=with_base)
    for one in (image, replace(image, digest=None), replace(image, packages=())):
        assert cyclonedx_mistake(cyclonedx(one).decode()) is None


def test_the_validator_itself_finds_what_is_wrong(store: Store) -> None:
    document = json.loads(cyclonedx(of(store)))
    document["components"][0]["hashes"][0]["content"] = "short"
    assert cyclonedx_mistake(json.dumps(document)) is not None


def test_the_library_reads_it_back(store: Store) -> None:
    image = of(store)
    bom = bom_of(json.loads(cyclonedx(image)))
    assert {str(c.purl) for c in bom.components if c.purl} == {p.purl for p in image.packages}
    bom.validate()


def test_the_image_is_the_root_and_depends_on_all(store: Store) -> None:
    document = json.loads(cyclonedx(of(store)))
    root = document["metadata"]["component"]
    assert (root["type"], root["name"], root["version"]) == ("container", "env", DIGEST)
    assert root["hashes"] == [{"alg": "SHA-256", "content": DIGEST.removeprefix("sha256:")}]
    (edges,) = [d["dependsOn"] for d in document["dependencies"] if d["ref"] == root["bom-ref"]]
    assert sorted(edges) == sorted(c["bom-ref"] for c in document["components"])
    assert document["compositions"] == [{"aggregate": "incomplete", "dependencies": [root["bom-ref"]]}]


def test_an_image_that_nobody_built_has_no_digest(store: Store) -> None:
    root = json.loads(cyclonedx(replace(of(store), digest=None)))["metadata"]["component"]
    assert not {"version", "hashes", "purl"} & set(root)


def test_licences_sources_and_hashes(store: Store) -> None:
    image = of(store)
    found = components(cyclonedx(image))
    declared = {"acknowledgement": "declared"}
    assert found["fold"]["licenses"] == [{"expression": "MIT OR Apache-2.0", **declared}]
    assert found["libfold1"]["licenses"] == [{"license": {"id": "MIT", **declared}}]
    assert found["vague"]["licenses"] == [{"license": {"name": "BSD", **declared}}]
    assert "licenses" not in found["absent"]
    (source,) = found["libfold1"]["pedigree"]["ancestors"]
    assert (source["name"], source["version"]) == ("fold", "1:2.0-1")
    assert source["purl"] == "pkg:deb/debian/fold@1:2.0-1?arch=source&distro=bookworm"
    for package in image.packages:
        assert found[package.name]["hashes"] == [{"alg": "SHA-256", "content": package.sha256}]
        assert (found[package.name]["version"], found[package.name]["purl"]) == (package.version, package.purl)
    system = found["debian"]
    assert (system["type"], system["version"]) == ("operating-system", "12")


def test_a_base_is_named_with_its_layers(store: Store) -> None:
    found = components(cyclonedx(of(store, with_base=True)))
    base = found["registry.example:5000/team/python:3.12-slim"]
    assert base["type"] == "container"
    assert [c["name"] for c in base["components"]] == [
        "layer 1 of 2 of the base image",
        "layer 2 of 2 of the base image",
    ]
    assert "hashes" not in found["pip"]
    assert {"name": "flyte-build:found-in", "value": "base-image"} in found["pip"]["properties"]


def test_the_same_content_has_the_same_bytes(store: Store) -> None:
    image = of(store)
    first = cyclonedx(image)
    assert cyclonedx(replace(image, packages=image.packages[::-1])) == first
    assert b"timestamp" not in first
    serials = {
        json.loads(cyclonedx(one))["serialNumber"]
        for one in (image, replace(image, digest=None), replace(image, packages=image.packages[:1]))
    }
    assert len(serials) == 3
    assert all(serial.startswith("urn:uuid:") for serial in serials)


def test_a_golden_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when the document's form changes: every SBOM in the world is then attached a second time."""
    monkeypatch.setattr("flyte_build.supply.cyclonedx.__version__", "0.1.0")
    lock = lock_of(recipe_of("fold"), [wheel("fold")], [deb("libfold1")])
    data = cyclonedx(inventory(lock, AMD64, digest=DIGEST))
    assert hashlib.sha256(data).hexdigest() == GOLDEN
