"""Verifying without the command line: what is compared, what is believed, and how a mismatch is worded."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flyte_build.assemble.image import LAYER_TYPE, canonical
from flyte_build.assemble.version import ASSEMBLER
from flyte_build.building.building import build
from flyte_build.building.comparing import Compared, Remote
from flyte_build.building.verifying import Verified, mismatch, verify_images
from flyte_build.deriving.derivation import ImageDerivation, LayerDerivation
from flyte_build.diffing.manifests import Divergence
from flyte_build.kernel.errors import ArtifactError, InputError, RegistryError
from flyte_build.kernel.reporting import Silent
from flyte_build.locks.base import LockedBase, LockedBlob
from flyte_build.locks.nouns import Lock, Pin
from flyte_build.registry.client import Registry
from flyte_build.registry.reference import Reference
from flyte_build.remote.cache import RemoteCache
from flyte_build.store import Store
from tests.support.images import FolderLocator, files_layer, image_of, noise, wheel_layer
from tests.support.recipes import lock_of, recipe_of
from tests.support.registry import RegistryServer

AMD64 = "linux/amd64"
SAME = Compared("same", "sha256:" + "a" * 64)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as made:
        yield made


def workspace_of(root: Path, images: list[ImageDerivation], locks: dict[str, Lock]) -> Any:
    """What verifying asks of a workspace, with derivations made by hand."""
    return SimpleNamespace(
        locks=lambda environments: locks,
        platforms=lambda environments, asked: [AMD64],
        derivations=lambda environments, given, platform: images,
        project=SimpleNamespace(root=root),
    )


def environments(*names: str) -> Any:
    return [SimpleNamespace(name=name, recipe=recipe_of()) for name in names]


@contextmanager
def connected(*caches: str) -> Iterator[RemoteCache]:
    with Registry() as client:
        yield RemoteCache(lambda patient: client, [Reference.parse(c) for c in caches], Silent())


class Hub:
    """A base image of one layer in ``hub/python`` of a registry."""

    def __init__(self, server: RegistryServer) -> None:
        tar = noise(20_000) + bytes(1504)
        self.server, self.blob = server, gzip.compress(tar, mtime=0)
        self.diff_id = "sha256:" + hashlib.sha256(tar).hexdigest()
        self.digest = server.put_blob("hub/python", self.blob)
        config = canonical({"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": [self.diff_id]}})
        rows = [{"mediaType": LAYER_TYPE, "digest": self.digest, "size": len(self.blob)}]
        self.config = {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": server.put_blob("hub/python", config),
            "size": len(config),
        }
        media = "application/vnd.oci.image.manifest.v1+json"
        data = canonical({"schemaVersion": 2, "mediaType": media, "config": self.config, "layers": rows})
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        server.repository("hub/python").manifests[digest] = media, data
        self.manifest = {"mediaType": media, "digest": digest, "size": len(data)}

    def layer(self) -> LayerDerivation:
        spec = {"kind": "base", "assembler": ASSEMBLER, "title": "the base", "media_type": LAYER_TYPE}
        return LayerDerivation({**spec, "digest": self.digest, "size": len(self.blob), "diff_id": self.diff_id}, ())

    def verbatim(self) -> ImageDerivation:
        made = image_of("env", [self.layer()])
        said = {"reference": "registry.example/python:3.12", "manifest": self.manifest, "config": self.config}
        return ImageDerivation(made.environment, made.platform, made.layers, {**made.spec, "verbatim": said})

    def lock(self, **pins: Pin) -> Lock:
        blob = LockedBlob(self.manifest["mediaType"], self.manifest["digest"], self.manifest["size"])
        reference = f"{self.server.host}/hub/python:3.12@{blob.digest}"
        base = LockedBase(reference, None, blob, blob, (), {})
        made = lock_of(recipe_of(), debs=[])
        return replace(made, platforms={AMD64: replace(made.platforms[AMD64], base=base)}, pins=pins)


def test_a_base_is_named_and_not_downloaded(store: Store, server: RegistryServer, tmp_path: Path) -> None:
    hub, wheels = Hub(server), tmp_path / "wheels"
    wheels.mkdir()
    image = image_of("env", [hub.layer(), wheel_layer(wheels, "alpha")])
    bases = {hub.layer().hash: f"{server.host}/hub/python"}
    with connected() as shared:
        [made] = build(
            [image], store, locator=FolderLocator(wheels), reporter=Silent(), remote=shared, bases=bases, local=False
        )
    lock = replace(hub.lock(), pins={AMD64: Pin(image.hash, made.manifest_digest)})
    server.forget_requests()
    workspace = workspace_of(tmp_path, [image], {"env": lock})
    with connected() as shared:
        [found] = verify_images(workspace, environments("env"), store, Silent(), shared=shared)
    assert (found.pin.state, found.digest, found.good) == ("same", made.manifest_digest, True)
    assert server.requests == []


def test_an_image_that_is_its_base_is_asked_for_by_digest(store: Store, server: RegistryServer, tmp_path: Path) -> None:
    hub = Hub(server)
    image = hub.verbatim()
    lock = replace(hub.lock(), pins={AMD64: Pin(image.hash, str(hub.manifest["digest"]))})
    workspace = workspace_of(tmp_path, [image], {"env": lock})
    with connected() as shared:
        [found] = verify_images(workspace, environments("env"), store, Silent(), shared=shared)
        assert found.pin.state == "same"
        server.repository("hub/python").manifests.clear()
        with pytest.raises(RegistryError, match="any more"):
            verify_images(workspace, environments("env"), store, Silent(), shared=shared)


def test_a_cache_is_not_believed(store: Store, server: RegistryServer, tmp_path: Path) -> None:
    """Not even one that has been handed in."""
    folder = tmp_path / "files"
    image = image_of("env", [files_layer(folder, {"home/flyte/a.txt": b"a\n"})])
    build([image], store, locator=FolderLocator(folder), reporter=Silent())
    workspace = workspace_of(folder, [image], {"env": lock_of(recipe_of(), debs=[])})
    with connected(f"{server.host}/team/cache") as shared:
        [found] = verify_images(workspace, environments("env"), store, Silent(), shared=shared)
    assert (found.store.state, found.pin.state) == ("same", "absent")
    assert server.requests == []


def test_what_the_store_lacks_and_nobody_has_is_an_error(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    image = image_of("env", [files_layer(folder, {"home/flyte/a.txt": b"a\n"})])
    build([image], store, locator=FolderLocator(folder), reporter=Silent())
    shutil.rmtree(store.artifacts)
    workspace = workspace_of(tmp_path / "nothing", [image], {"env": lock_of(recipe_of(), debs=[])})
    with pytest.raises(ArtifactError, match="no local file has"):
        verify_images(workspace, environments("env"), store, Silent())


def test_one_reference_is_for_one_environment(store: Store, tmp_path: Path) -> None:
    images = [image_of(name, [files_layer(tmp_path, {"a": b"a"})]) for name in ("one", "two")]
    locks = {name: lock_of(recipe_of(), debs=[]) for name in ("one", "two")}
    remote = Remote(None, exactly=Reference.parse("registry.example/team/one:v1"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is one image, and 2 are verified"):
        verify_images(workspace_of(tmp_path, images, locks), environments("one", "two"), store, Silent(), remote=remote)


def verified(**compared: Compared) -> Verified:
    parts = {"pin": SAME, "store": SAME, **compared}
    return Verified("env", AMD64, "sha256:" + "d" * 64, "sha256:" + "a" * 64, **parts)


def test_only_differences_are_an_error_and_the_first_of_each_is_named() -> None:
    absent = Compared("absent")
    assert mismatch([verified(), verified(pin=absent, store=absent, registry=absent)]) is None
    cause = Divergence("layer", "mode: expected 0644, found 0755", 3, "alpha 1.0", "a/b")
    wrong = Compared("differs", "sha256:" + "b" * 64, None, (str(cause), "configuration: more"), (cause,))
    error = mismatch([verified(), verified(pin=wrong, registry=Compared("incomplete", differences=("lacks one",)))])
    assert error is not None
    assert error.exit_code == 15
    assert error.message == (
        "1 of 2 images rebuilt from nothing is not what was recorded:\n"
        "  env on linux/amd64, pin: layer 3 (`alpha 1.0`): `a/b`: mode: expected 0644, found 0755\n"
        "  env on linux/amd64, registry: lacks one"
    )
    assert "before you know why" in (error.hint or "")


def test_a_pin_that_is_only_old_has_a_way_out_of_its_own() -> None:
    error = mismatch([verified(pin=Compared("outdated", differences=("of another derivation",)))])
    assert error is not None
    assert error.hint == "`flyte-build build` without --locked makes new pins: commit them"


def test_an_image_is_confirmed_only_by_something() -> None:
    absent = Compared("absent")
    assert verified().confirmed
    assert not verified(pin=absent, store=absent).confirmed
    assert verified(pin=absent, store=absent).good
    document = verified(registry=absent).to_json()
    assert document["registry"] == {
        "state": "absent", "digest": None, "place": None, "differences": [], "messages": [],
    }  # fmt: skip
    assert "registry" not in verified().to_json()
