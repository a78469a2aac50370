"""A document that is put together from what the library made before is the one that it makes in one piece."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.store import Store
from flyte_build.supply import components as module
from flyte_build.supply import cyclonedx as library
from flyte_build.supply.artifact_metadata import StoredFacts
from flyte_build.supply.components import Components
from flyte_build.supply.cyclonedx import cyclonedx
from flyte_build.supply.licenses import License
from flyte_build.supply.packages import Inventory, inventory
from tests.support.recipes import AMD64
from tests.support.supply import DIGEST, everything


@pytest.fixture
def image(store: Store) -> Inventory:
    return inventory(everything(store), AMD64, digest=DIGEST, facts=StoredFacts(store))


def kinds(image: Inventory) -> list[Inventory]:
    """Images of one sort and another."""
    first, *rest = image.packages
    return [
        image,
        replace(image, environment="Other env", digest="sha256:" + "7a" * 32, platform="linux/arm64"),
        replace(image, complete=not image.complete),
        replace(image, suite=None),
        replace(image, distro=None, suite=None),
        replace(image, packages=tuple(rest)),
        replace(image, packages=(replace(first, license=License("Apache-2.0")), *rest)),
        replace(image, packages=(replace(first, name="zz-ä", version="0"), *rest)),
        replace(image, packages=()),
        replace(image, packages=(), distro=None),
        replace(image, digest=None),
        replace(image, environment="/"),
        replace(image, packages=(*image.packages, first)),
    ]


def test_it_is_the_document_in_one_piece(store: Store, image: Inventory, tmp_path: Path) -> None:
    with_base = inventory(everything(store, with_base=True), AMD64, digest=DIGEST, facts=StoredFacts(store))
    for _ in range(2):
        parts = Components(tmp_path / "components")
        for one in (*kinds(image), with_base):
            assert parts.document(one) == cyclonedx(one)
        parts.save()


def test_what_was_made_before_is_not_made_again(
    image: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Components(tmp_path / "parts")
    parts.document(image)
    parts.save()
    made: list[str] = []
    component, document = library.component, library.document
    monkeypatch.setattr(library, "component", lambda p: made.append(p.name) or component(p))
    monkeypatch.setattr(library, "document", lambda i: made.append("an image") or document(i))
    first, *rest = image.packages
    parts = Components(tmp_path / "parts")
    expected = cyclonedx(image)
    made.clear()
    assert parts.document(image) == expected
    assert parts.document(replace(image, environment="more"))
    assert made == []
    parts.document(replace(image, packages=(replace(first, version="7"), *rest)))
    assert made == [first.name]
    parts.save()
    Components(tmp_path / "parts").document(replace(image, packages=(replace(first, version="7"), *rest)))
    assert made == [first.name]


def another_version(path: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "__version__", "9.9")


WRONG: dict[str, Callable[[Path, pytest.MonkeyPatch], Any]] = {
    "no JSON": lambda path, _: path.write_bytes(b"{"),
    "no document": lambda path, _: path.write_text("[]"),
    "half of one": lambda path, _: path.write_text(json.dumps({"components": {}})),
    "nothing": lambda path, _: path.unlink(),
    "another version's": another_version,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_cache_is_made_again(
    image: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    parts = Components(tmp_path / "parts")
    whole = parts.document(image)
    parts.save()
    [path] = (tmp_path / "parts").iterdir()
    WRONG[wrong](path, monkeypatch)
    parts = Components(tmp_path / "parts")
    assert parts.document(image) == whole
    parts.save()
    assert len(list((tmp_path / "parts").iterdir())) == 1, "what no version uses any more goes"


def test_it_does_not_grow_for_ever(image: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 100)
    parts = Components(tmp_path / "parts")
    parts.document(image)
    parts.save()
    assert list((tmp_path / "parts").iterdir()) == []
    blocked = tmp_path / "file"
    blocked.write_text("")
    parts = Components(blocked)
    assert parts.document(image) == cyclonedx(image)
    parts.save()
