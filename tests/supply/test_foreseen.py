"""Documents that are made before they are asked for are the same documents."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from flyte_build.kernel.reporting import Silent
from flyte_build.registry import Reference, Registry
from flyte_build.store import Store
from flyte_build.supply import foreseen as module
from flyte_build.supply.artifact_metadata import StoredFacts
from flyte_build.supply.attaching import attach
from flyte_build.supply.documents import FORMATS, document, sent
from flyte_build.supply.foreseen import OF_INVENTORY, Foreseen
from flyte_build.supply.packages import Inventory, inventory
from tests.support.recipes import AMD64
from tests.support.registry import RegistryServer
from tests.support.supply import everything, push, put_image


@pytest.fixture
def image(store: Store) -> Inventory:
    return inventory(everything(store), AMD64, digest="sha256:" + "1" * 64, facts=StoredFacts(store))


def test_they_are_those_that_would_be_made(store: Store, image: Inventory) -> None:
    lock = everything(store)
    with Foreseen(store) as foreseen:
        foreseen.begin(lock, [image])
        for name in FORMATS:
            assert foreseen.document(name, lock, image) == sent(document(name, lock, image))


def test_each_is_made_once_and_beside_who_wants_it(
    store: Store, image: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, made = everything(store), []

    def making(format: str, *more: object) -> bytes:
        made.append((format, threading.current_thread() is threading.main_thread()))
        return f'"{format}"\n'.encode()

    monkeypatch.setattr(module, "document", making)
    with Foreseen(store) as foreseen:
        for _ in range(2):
            foreseen.begin(lock, [image])
        assert [foreseen.document(name, lock, image) for name in OF_INVENTORY] == [b'"cyclonedx"', b'"spdx"']
        assert made == [("cyclonedx", False), ("spdx", False)]
        # Of what says more than the inventory, and of another image, nothing was foreseen.
        assert foreseen.document("provenance", lock, image) == b'"provenance"'
        assert foreseen.document("spdx", lock, replace(image, digest=None)) == b'"spdx"'
        assert made[2:] == [("provenance", True), ("spdx", True)]


def test_what_cannot_be_made_is_said_to_who_wants_it(
    store: Store, image: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> bytes:
        raise ValueError("no such licence")

    monkeypatch.setattr(module, "document", failing)
    with Foreseen(store) as foreseen:
        foreseen.begin(everything(store), [image])
        with pytest.raises(ValueError, match="no such licence"):
            foreseen.document("spdx", everything(store), image)


def test_attached_are_those_that_were_foreseen(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = everything(store)
    with RegistryServer(referrers=True) as server, Registry(environ={}) as registry, Foreseen(store) as foreseen:
        digest = put_image(server, "team/env")
        about = inventory(lock, AMD64, digest=digest, facts=StoredFacts(store))
        monkeypatch.setattr(module, "document", lambda format, *_: f'"the {format} of it"'.encode())
        foreseen.begin(lock, [about])
        pushed = push(server, "team/env", {AMD64: digest})
        found = attach([pushed], {"env": lock}, store, registry, Silent(), foreseen=foreseen)
        told = {}
        for one in found:
            place = Reference.parse(one.reference)
            manifest = registry.manifest(place)
            assert manifest is not None
            told[one.format] = registry.read_blob(place, manifest.json["layers"][0]["digest"])
    assert told == {name: f'"the {name} of it"'.encode() for name in FORMATS}
