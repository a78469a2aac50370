"""SBOMs and provenance as referrers: beside every platform's manifest, once, and findable by type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from flyte_build.kernel.errors import RegistryError
from flyte_build.kernel.reporting import Recorder, Silent
from flyte_build.locks.nouns import Lock, Pin
from flyte_build.registry import Reference, Registry
from flyte_build.store import Store
from flyte_build.supply.artifact_metadata import StoredFacts
from flyte_build.supply.attaching import Attached, attach
from flyte_build.supply.documents import FORMATS, document, sent
from flyte_build.supply.packages import inventory
from tests.support.recipes import AMD64
from tests.support.registry import RegistryServer
from tests.support.supply import everything, push, put_image

ARM64 = "linux/arm64"
TYPES = {f.name: f.media_type for f in FORMATS.values()}


@pytest.fixture(params=[True, False], ids=["api", "tag"])
def server(request: pytest.FixtureRequest) -> Iterator[RegistryServer]:
    with RegistryServer(referrers=request.param) as one:
        yield one


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry(environ={}, wait=lambda _: None) as one:
        yield one


def both(lock: Lock) -> Lock:
    """The lock, for two platforms."""
    return replace(lock, platforms={AMD64: lock.platforms[AMD64], ARM64: lock.platforms[AMD64]})


def run(server: RegistryServer, registry: Registry, store: Store, lock: Lock, **platforms: str) -> list[Attached]:
    named = {f"linux/{name}": digest for name, digest in platforms.items()}
    return attach([push(server, "team/env", named)], {"env": lock}, store, registry, Silent())


def content(registry: Registry, one: Attached) -> tuple[dict[str, Any], bytes]:
    """A referrer's manifest and its document."""
    place = Reference.parse(one.reference)
    manifest = registry.manifest(place)
    assert manifest is not None
    return manifest.json, registry.read_blob(place, manifest.json["layers"][0]["digest"])


def test_each_platform_has_each_document(server: RegistryServer, registry: Registry, store: Store) -> None:
    lock = both(everything(store))
    amd, arm = put_image(server, "team/env", mark="amd"), put_image(server, "team/env", mark="arm")
    found = run(server, registry, store, lock, amd64=amd, arm64=arm)
    assert [(a.platform, a.format, a.subject, a.new) for a in found] == [
        (platform, name, digest, True) for platform, digest in ((AMD64, amd), (ARM64, arm)) for name in FORMATS
    ]
    place = Reference.parse(f"{server.host}/team/env")
    for one in found:
        manifest, data = content(registry, one)
        (listed,) = registry.referrers(place, one.subject, TYPES[one.format])
        assert one.reference.endswith(listed["digest"])
        assert manifest["artifactType"] == manifest["layers"][0]["mediaType"] == TYPES[one.format]
        assert manifest["subject"]["digest"] == one.subject
        assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
        facts = StoredFacts(store)
        image = inventory(lock, one.platform, digest=one.subject, facts=facts)
        written = document(one.format, lock, image)
        assert data == sent(written)
        assert json.loads(data) == json.loads(written)
        assert len(data) < 0.9 * len(written)
        assert one.subject.removeprefix("sha256:").encode() in data
    assert server.dangling() == []


def test_nothing_is_attached_twice(server: RegistryServer, registry: Registry, store: Store) -> None:
    lock, digest = everything(store), put_image(server, "team/env")
    first = run(server, registry, store, lock, amd64=digest)
    server.forget_requests()
    second = run(server, registry, store, lock, amd64=digest)
    assert second == [replace(one, new=False) for one in first]
    assert {seen.method for seen in server.seen()} == {"GET"}
    assert server.count() == (1 if server.referrers else 2)


def test_who_knows_less_adds_nothing_and_who_knows_more_adds(
    server: RegistryServer, registry: Registry, store: Store
) -> None:
    lock, digest = everything(store), put_image(server, "team/env")
    kept = {path.name: path.read_bytes() for path in store.artifacts.iterdir()}
    for path in store.artifacts.iterdir():
        path.unlink()
    poor = run(server, registry, store, lock, amd64=digest)
    for name, data in kept.items():
        store.artifact_path(name).write_bytes(data)
    rich = run(server, registry, store, lock, amd64=digest)
    assert [one.new for one in poor] == [True, True, True]
    # Provenance says nothing of licences.
    assert [one.new for one in rich] == [True, True, False]
    for path in (store.root / "licenses").rglob("*"):
        if path.is_file():
            path.unlink()
    for path in store.artifacts.iterdir():
        path.unlink()
    assert run(server, registry, store, lock, amd64=digest) == [replace(one, new=False) for one in rich]


def test_another_lock_of_the_same_image_is_another_document(
    server: RegistryServer, registry: Registry, store: Store
) -> None:
    lock, digest = everything(store), put_image(server, "team/env")
    run(server, registry, store, lock, amd64=digest)
    again = run(server, registry, store, replace(lock, resolver_version="9"), amd64=digest)
    # What is in the image is the same; what it was asked with is not.
    assert [(one.format, json.loads(content(registry, one)[1]).get("_type") is not None) for one in again if one.new]
    pinned = replace(lock, pins={AMD64: Pin("sha256:" + "d0" * 32, digest)})
    assert not any(one.new for one in run(server, registry, store, pinned, amd64=digest))


def test_provenance_tells_its_predicate(server: RegistryServer, registry: Registry, store: Store) -> None:
    found = run(server, registry, store, everything(store), amd64=put_image(server, "team/env"))
    manifest, data = content(registry, found[-1])
    assert manifest["annotations"]["in-toto.io/predicate-type"] == json.loads(data)["predicateType"]


def test_absent_licences_are_said(server: RegistryServer, registry: Registry, store: Store) -> None:
    pushed = [push(server, "team/env", {AMD64: put_image(server, "team/env")})]
    lock, reporter = everything(store), Recorder()
    attach(pushed, {"env": lock}, store, registry, reporter)
    assert [note for note in reporter.notes if "the licences of 1 packages are not known" in note]
    attach(pushed, {"env": lock}, store, registry, reporter)
    assert len(reporter.notes) == 1


def test_an_image_that_is_not_there_is_named(server: RegistryServer, registry: Registry, store: Store) -> None:
    with pytest.raises(RegistryError, match=r"expected the image sha256:0{64} to attach documents to, found none"):
        run(server, registry, store, everything(store), amd64="sha256:" + "0" * 64)


def test_only_the_formats_asked_for(server: RegistryServer, registry: Registry, store: Store) -> None:
    pushed = [push(server, "team/env", {AMD64: put_image(server, "team/env")})]
    found = attach(pushed, {"env": everything(store)}, store, registry, Silent(), formats=("spdx",))
    assert [one.format for one in found] == ["spdx"]
    assert server.count("PUT", "manifest") == (1 if server.referrers else 2)


def test_the_empty_config_is_asked_for_once_and_lists_keep_their_order(
    server: RegistryServer, registry: Registry, store: Store
) -> None:
    """Documents travel side by side; what is listed is in the order of the formats, whichever arrived first."""
    digest = put_image(server, "team/env")
    server.forget_requests()
    found = run(server, registry, store, everything(store), amd64=digest)
    asked = [s.path.rpartition("/")[2] for s in server.seen("HEAD", "blob")]
    assert len(asked) == len(set(asked)) == 1 + len(FORMATS)
    put = [s.path for s in server.seen("PUT", "manifest") if "/manifests/sha256:" in s.path]
    assert [path.rpartition("/")[2] for path in put] == [one.reference.partition("@")[2] for one in found]
