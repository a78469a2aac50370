"""Images with SOCI indexes beside pushed ones: what is bound to what, and that nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import StoreError
from flyte_build.kernel.reporting import Recorder
from flyte_build.registry import IMAGE_MANIFEST, Reference, Registry
from flyte_build.remote.publishing import PushedImage
from flyte_build.soci import publishing, push_indexed, ztoc
from flyte_build.store import Store
from flyte_build.supply.pushing import push_bytes
from tests.support.registry import RegistryServer, sha256

from .layers import read_ztoc, rows_of

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
INDEX = "application/vnd.amazon.soci.index.v2+json"
NOTE = "com.amazon.soci."


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as one:
        yield one


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry(environ={}, wait=lambda _: None) as one:
        yield one


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers of kilobytes count, and have several spans."""
    monkeypatch.setattr(publishing, "LEAST", 1000)
    monkeypatch.setattr(publishing, "ztoc", partial(ztoc, span=50_000))


class Pushed:
    """An image for two platforms, of one layer and another small one, in a registry and a store."""

    def __init__(self, server: RegistryServer, registry: Registry, store: Store, layers: list[bytes]) -> None:
        self.place = Reference.parse(f"{server.host}/team/env")
        self.manifests: dict[str, dict[str, Any]] = {}
        with store.session() as session:
            for platform in ("linux/amd64", "linux/arm64"):
                config = json.dumps({"os": "linux", "architecture": platform.partition("/")[2]}).encode()
                manifest = {
                    "schemaVersion": 2,
                    "mediaType": IMAGE_MANIFEST,
                    "config": push_bytes(registry, self.place, config, CONFIG),
                    "layers": [push_bytes(registry, self.place, data, GZIP) for data in layers],
                }
                written = json.dumps(manifest).encode()
                registry.put_manifest(self.place.with_digest(sha256(written)), written, IMAGE_MANIFEST)
                for data in (config, *layers, written):
                    session.put_blob(data)
                self.manifests[platform] = {**manifest, "own": sha256(written)}
        platforms = {platform: m["own"] for platform, m in self.manifests.items()}
        first = platforms["linux/amd64"]
        self.image = PushedImage("env", f"{self.place}@{first}", first, platforms, ("drv-1", "v1"), 0, 0, 0)


def document(registry: Registry, place: Reference, digest: str) -> dict[str, Any]:
    found = registry.manifest(place.with_digest(digest))
    assert found is not None
    return found.json


def test_each_platform_is_bound_to_its_index(
    server: RegistryServer, registry: Registry, tmp_path: Path, blob: Path
) -> None:
    store = Store(tmp_path / "store")
    pushed = Pushed(server, registry, store, [blob.read_bytes(), b"x" * 999])
    (made,) = push_indexed([pushed.image], store, registry, Recorder())
    assert made.tags == ("drv-1-soci", "v1-soci")
    whole = document(registry, pushed.place, made.digest)
    for tag in made.tags:
        assert server.repositories["team/env"].tags[tag] == made.digest
    images, indexes = whole["manifests"][:2], whole["manifests"][2:]
    assert [i["platform"] for i in images] == [i["platform"] for i in indexes] == [
        {"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64"}
    ]  # fmt: skip
    for platform, image, index in zip(pushed.manifests, images, indexes, strict=True):
        assert (image["mediaType"], index["mediaType"], index["artifactType"]) == (
            IMAGE_MANIFEST,
            IMAGE_MANIFEST,
            INDEX,
        )
        assert made.platforms[platform] == image["digest"]
        manifest, before = document(registry, pushed.place, image["digest"]), pushed.manifests[platform]
        assert manifest["annotations"] == image["annotations"] == {f"{NOTE}index-digest": index["digest"]}
        assert index["annotations"] == {f"{NOTE}image-manifest-digest": image["digest"]}
        assert (manifest["layers"], manifest["config"]) == (before["layers"], before["config"])
        soci = document(registry, pushed.place, index["digest"])
        assert soci["config"]["mediaType"] == INDEX
        assert "subject" not in soci
        (table,) = soci["layers"]
        assert table["mediaType"] == "application/octet-stream"
        assert table["annotations"] == {
            f"{NOTE}image-layer-digest": sha256(blob.read_bytes()),
            f"{NOTE}image-layer-mediaType": GZIP,
            f"{NOTE}span-size": str(4 << 20),
        }
        data = registry.read_blob(pushed.place, table["digest"])
        assert read_ztoc(data, blob.read_bytes()) == rows_of(blob)


def test_what_is_there_is_not_sent_again(
    server: RegistryServer, registry: Registry, tmp_path: Path, blob: Path
) -> None:
    store = Store(tmp_path / "store")
    pushed = Pushed(server, registry, store, [blob.read_bytes()])
    before = dict(server.repositories["team/env"].tags)
    (first,) = push_indexed([pushed.image], store, registry, Recorder())
    assert first.uploaded > 0
    server.forget_requests()
    (again,) = push_indexed([pushed.image], store, registry, Recorder())
    assert (again.uploaded, again.existing, again.digest) == (0, first.uploaded, first.digest)
    assert {seen.method for seen in server.requests} == {"HEAD"}
    after = server.repositories["team/env"].tags
    assert {tag: after[tag] for tag in before} == before, "no tag of the image moves"


def test_an_image_with_nothing_to_read_in_parts(server: RegistryServer, registry: Registry, tmp_path: Path) -> None:
    store, said = Store(tmp_path / "store"), Recorder()
    pushed = Pushed(server, registry, store, [b"x" * 999, b"another's" * 500])
    assert push_indexed([pushed.image], store, registry, said) == []
    assert said.notes == ["env: no layer of 10 MiB or more that can be read in parts: no SOCI index"]


def test_a_layer_that_went_is_an_error(server: RegistryServer, registry: Registry, tmp_path: Path, blob: Path) -> None:
    store = Store(tmp_path / "store")
    pushed = Pushed(server, registry, store, [blob.read_bytes()])
    path = store.blob(sha256(blob.read_bytes()))
    assert path is not None
    path.unlink()
    with pytest.raises(StoreError, match=r"expected the layer sha256:[0-9a-f]{64} in the store, found none"):
        push_indexed([pushed.image], store, registry, Recorder())
