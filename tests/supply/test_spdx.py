"""The SPDX document: valid by the format's own validator, the same bytes for the same content, and what is in it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flyte_build.store import Store
from flyte_build.supply.artifact_metadata import StoredFacts
from flyte_build.supply.cyclonedx import cyclonedx
from flyte_build.supply.licenses import Facts, License
from flyte_build.supply.packages import Inventory, inventory
from flyte_build.supply.spdx import spdx
from tests.support.documents import cyclonedx_mistake, spdx_document, spdx_error, spdx_mistakes
from tests.support.recipes import AMD64, deb, lock_of, recipe_of, wheel
from tests.support.supply import DIGEST, everything

GOLDEN = "36d814c0f26d52656fc55edc94d5820f6551db0fd973518f3fd0fa8786705c99"


def of(store: Store, *, with_base: bool = False) -> Inventory:
    return inventory(everything(store, with_base=with_base), AMD64, digest=DIGEST, facts=StoredFacts(store))


def parsed(data: bytes, tmp_path: Path) -> Any:
    path = tmp_path / "it.spdx.json"
    path.write_bytes(data)
    return spdx_document(path)


def packages(data: bytes) -> dict[str, dict[str, Any]]:
    return {p["name"]: p for p in json.loads(data)["packages"]}


@pytest.mark.parametrize("with_base", [False, True])
def test_it_is_valid(with_base: bool, store: Store, tmp_path: Path) -> None:
    image = of(store, with_base=with_base)
    for one in (image, replace(image, digest=None), replace(image, packages=())):
        assert spdx_mistakes(parsed(spdx(one), tmp_path)) == []


def test_the_validator_itself_finds_what_is_wrong(store: Store, tmp_path: Path) -> None:
    document = json.loads(spdx(of(store)))
    document["packages"][-1]["checksums"][0]["checksumValue"] = "ab"
    assert spdx_mistakes(parsed(json.dumps(document).encode(), tmp_path))
    del document["packages"][-1]["SPDXID"]
    with pytest.raises(spdx_error()):
        parsed(json.dumps(document).encode(), tmp_path)


def test_the_image_contains_all(store: Store) -> None:
    document = json.loads(spdx(of(store)))
    assert document["documentDescribes"] == ["SPDXRef-image"]
    root, *others = document["packages"]
    assert (root["name"], root["versionInfo"], root["primaryPackagePurpose"]) == ("env", DIGEST, "CONTAINER")
    contained = {
        r["relatedSpdxElement"]
        for r in document["relationships"]
        if (r["spdxElementId"], r["relationshipType"]) == ("SPDXRef-image", "CONTAINS")
    }
    assert contained == {p["SPDXID"] for p in others}


def test_what_is_known_of_a_package_and_what_is_not(store: Store) -> None:
    image = of(store)
    found = packages(spdx(image))
    assert found["fold"]["licenseDeclared"] == "MIT OR Apache-2.0"
    assert found["libfold1"]["licenseDeclared"] == "MIT"
    assert found["libfold1"]["sourceInfo"] == "built from the source package fold 1:2.0-1"
    assert (found["vague"]["licenseDeclared"], found["vague"]["licenseComments"]) == ("NOASSERTION", "declared as: BSD")
    assert "licenseComments" not in found["absent"]
    for package in image.packages:
        row = found[package.name]
        assert row["checksums"] == [{"algorithm": "SHA256", "checksumValue": package.sha256}]
        assert (row["versionInfo"], row["packageFileName"]) == (package.version, package.file)
        assert row["externalRefs"][0]["referenceLocator"] == package.purl
        assert row["licenseConcluded"] == row["copyrightText"] == row["downloadLocation"] == "NOASSERTION"


def test_a_licence_whose_text_is_not_here_is_a_comment(store: Store, tmp_path: Path) -> None:
    image = of(store)
    (fold,) = [p for p in image.packages if p.name == "fold"]
    ours = replace(fold, license=replace(fold.license, expression="LicenseRef-Ours AND MIT"))
    data = spdx(replace(image, packages=(ours,)))
    assert packages(data)["fold"]["licenseComments"] == "declared as: LicenseRef-Ours AND MIT"
    assert spdx_mistakes(parsed(data, tmp_path)) == []


def test_a_base_is_an_ancestor_with_its_layers(store: Store) -> None:
    document = json.loads(spdx(of(store, with_base=True)))
    edges = {(r["spdxElementId"], r["relationshipType"], r["relatedSpdxElement"]) for r in document["relationships"]}
    assert ("SPDXRef-image", "DESCENDANT_OF", "SPDXRef-base-image") in edges
    for number in (1, 2):
        assert ("SPDXRef-base-image", "CONTAINS", f"SPDXRef-base-layer-{number}") in edges
    found = packages(spdx(of(store, with_base=True)))
    assert "checksums" not in found["pip"]
    assert found["pip"]["comment"] == "Found installed in the base image when that was locked."


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(name="\r", words=[])
@example(name="all/", words=[])
@given(name=st.text(min_size=1, max_size=12), words=st.lists(st.text(min_size=1, max_size=12), max_size=3))
def test_whatever_people_call_things(name: str, words: list[str], tmp_path: Path) -> None:
    """Environments may be called anything, and so may licences."""
    lock = lock_of(recipe_of("fold"), [wheel("fold")], environment=name)
    image = inventory(lock, AMD64, digest=DIGEST, facts=lambda _: Facts(License(names=tuple(words))))
    assert spdx_mistakes(parsed(spdx(image), tmp_path)) == []
    assert cyclonedx_mistake(cyclonedx(image).decode()) is None


def test_the_same_content_has_the_same_bytes_and_namespace(store: Store) -> None:
    image = of(store)
    assert spdx(image) == spdx(of(store))
    names = {json.loads(spdx(one))["documentNamespace"] for one in (image, replace(image, digest=None))}
    assert len(names) == 2
    assert json.loads(spdx(image))["creationInfo"]["created"] == "1980-01-01T00:00:00Z"


def test_a_golden_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when the document's form changes: every SBOM in the world is then attached a second time."""
    monkeypatch.setattr("flyte_build.supply.spdx.__version__", "0.1.0")
    lock = lock_of(recipe_of("fold"), [wheel("fold")], [deb("libfold1")])
    data = spdx(inventory(lock, AMD64, digest=DIGEST))
    assert hashlib.sha256(data).hexdigest() == GOLDEN
