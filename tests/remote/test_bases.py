"""Images on registry bases: the base's layers are mounted, or carried across, and pulled only where they are run."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble.image import LAYER_TYPE, canonical
from flyte_build.assemble.version import ASSEMBLER
from flyte_build.deriving.derivation import ImageDerivation, LayerDerivation
from flyte_build.kernel.errors import ArtifactError, FetchError, RegistryError
from tests.remote.site import Machine, tags
from tests.support.images import image_of, noise, wheel_layer
from tests.support.registry import RegistryServer

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass
class Base:
    """An image of one layer in ``hub/python`` of a registry."""

    server: RegistryServer

    def __post_init__(self) -> None:
        tar = noise(30_000) + bytes(2288)
        self.blob = gzip.compress(tar, mtime=0)
        self.diff_id = "sha256:" + hashlib.sha256(tar).hexdigest()
        self.digest = self.server.put_blob("hub/python", self.blob)
        config = canonical({"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": [self.diff_id]}})
        self.config = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config)}
        self.config["digest"] = self.server.put_blob("hub/python", config)
        layer = {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(self.blob)}
        document = {"schemaVersion": 2, "mediaType": DOCKER, "config": self.config}
        self.manifest = canonical({**document, "layers": [{**layer, "digest": self.digest}]})
        self.manifest_digest = "sha256:" + hashlib.sha256(self.manifest).hexdigest()
        self.server.repository("hub/python").manifests[self.manifest_digest] = DOCKER, self.manifest

    @property
    def repository(self) -> str:
        return f"{self.server.host}/hub/python"

    def layer(self, **other: Any) -> LayerDerivation:
        spec = {"kind": "base", "assembler": ASSEMBLER, "title": "the base", "media_type": LAYER_TYPE}
        spec |= {"digest": self.digest, "size": len(self.blob), "diff_id": self.diff_id, **other}
        return LayerDerivation(spec, ())

    def verbatim(self) -> ImageDerivation:
        made = image_of("as_is", [self.layer()])
        manifest = {"mediaType": DOCKER, "digest": self.manifest_digest, "size": len(self.manifest)}
        said = {"reference": f"{self.repository}@{self.manifest_digest}", "manifest": manifest, "config": self.config}
        return ImageDerivation(made.environment, made.platform, made.layers, {**made.spec, "verbatim": said})


@pytest.fixture
def base(server: RegistryServer) -> Base:
    return Base(server)


@pytest.fixture
def away() -> Iterator[Base]:
    """A base in another registry."""
    with RegistryServer() as other:
        yield Base(other)


def machine(base: Base, server: RegistryServer, wheels: Path, folder: Path, **more: Any) -> Machine:
    return Machine(folder, server, wheels, bases={base.layer().hash: base.repository}, **more)


def test_a_base_of_the_same_registry_is_mounted_and_never_downloaded(
    base: Base, server: RegistryServer, wheels: Path, tmp_path: Path
) -> None:
    image = image_of("env", [base.layer(), wheel_layer(wheels, "alpha")])
    [pushed] = machine(base, server, wheels, tmp_path / "one").push([image], "v1")
    assert pushed.mounted == len(base.blob)
    assert server.bytes_out("blob") == 0
    assert pushed.uploaded < len(base.blob)
    assert server.dangling() == []
    kept = json.loads(server.repository("team/env").manifests[pushed.digest][1])
    assert kept["layers"][0] == {"mediaType": LAYER_TYPE, "digest": base.digest, "size": len(base.blob)}
    # The cache holds what a fresh machine needs, the base's layer too, though no realisation of it.
    server.forget_requests()
    machine(base, server, tmp_path / "nothing", tmp_path / "two").push([image])
    assert len(server.requests) == 3


def test_a_base_of_another_registry_is_carried_across_once(
    away: Base, server: RegistryServer, wheels: Path, tmp_path: Path
) -> None:
    image = image_of("env", [away.layer(), wheel_layer(wheels, "alpha")])
    one = machine(away, server, wheels, tmp_path / "one")
    [pushed] = one.push([image, image_of("other", [away.layer()])])[:1]
    assert away.server.bytes_out("blob") == len(away.blob)
    assert server.bytes_in("session") >= len(away.blob)
    assert pushed.digest == one.build([image], local=False)[0].manifest_digest
    assert server.dangling() == []
    away.server.forget_requests()
    server.forget_requests()
    again = one.push([image])
    assert (again[0].uploaded, again[0].mounted) == (0, 0)
    assert away.server.requests == []
    assert server.count("PUT") == server.count("POST") == 0


def test_a_build_pulls_the_base_and_has_the_whole_image(
    away: Base, server: RegistryServer, wheels: Path, tmp_path: Path
) -> None:
    image = image_of("env", [away.layer(), wheel_layer(wheels, "alpha")])
    one = machine(away, server, wheels, tmp_path / "one", cached=False)
    [built] = one.build([image])
    assert built.local
    assert [x.pulled for x in built.layers] == [True, False]
    assert one.store.blob_path(away.digest).read_bytes() == away.blob
    assert one.store.verify().ok
    assert one.store.tags() == {"env-linux-amd64": built.manifest_digest}
    away.server.forget_requests()
    assert one.build([image])[0].reused
    assert away.server.requests == []


def test_a_base_that_is_not_what_was_locked_is_refused(
    away: Base, server: RegistryServer, wheels: Path, tmp_path: Path
) -> None:
    wrong = away.layer(diff_id="sha256:" + "0" * 64)
    one = Machine(tmp_path / "one", server, wheels, bases={wrong.hash: away.repository})
    with pytest.raises(ArtifactError, match="expected the diff_id sha256:0000"):
        one.build([image_of("env", [wrong])])
    away.server.blobs[away.digest] = away.blob[:-1] + b"x"
    with pytest.raises(RegistryError, match="expected bytes of"):
        machine(away, server, wheels, tmp_path / "two").build([image_of("env", [away.layer()])])
    away.server.repository("hub/python").blobs.clear()
    with pytest.raises(RegistryError, match=f"does not have {away.digest}"):
        machine(away, server, wheels, tmp_path / "three").push([image_of("env", [away.layer()])])
    assert tags(server, "team/env") == {}
    with pytest.raises(FetchError, match="no registry is known"):
        Machine(tmp_path / "four", server, wheels).build([image_of("env", [away.layer()])])


@pytest.mark.parametrize("local", [True, False])
def test_an_image_that_is_its_base_keeps_its_digest(
    away: Base, server: RegistryServer, wheels: Path, tmp_path: Path, local: bool
) -> None:
    image = away.verbatim()
    one = machine(away, server, wheels, tmp_path / "one")
    [built] = one.build([image], local=local)
    assert built.manifest_digest == away.manifest_digest
    assert built.local == local
    [pushed] = one.push([image], "v1")
    assert pushed.digest == away.manifest_digest
    assert server.repository("team/as_is").manifests[pushed.digest] == (DOCKER, away.manifest)
    assert server.dangling() == []
    server.forget_requests()
    two = machine(away, server, wheels, tmp_path / "two")
    assert two.push([image])[0].existing > len(away.blob)
    assert len(server.requests) == 3
