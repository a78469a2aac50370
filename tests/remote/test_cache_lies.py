"""Nothing that a cache says and that is false is believed: what it is about is made here."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble.image import canonical
from flyte_build.deriving.derivation import ImageDerivation
from flyte_build.remote.cache_entries import image_tag, layer_tag
from tests.remote.site import Machine
from tests.support.images import image_of, wheel_layer
from tests.support.registry import RegistryServer, Repository, sha256

from .conftest import SIZE


def replaced(cache: Repository, tag: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Let ``tag`` name what ``change`` makes of its manifest: a document, or bytes."""
    kind, data = cache.manifests[cache.tags[tag]]
    document = json.loads(data)
    changed = change(document)
    new = changed if isinstance(changed, bytes) else canonical(document if changed is None else changed)
    cache.manifests[sha256(new)] = (kind, new)
    cache.tags[tag] = sha256(new)


def swap_config(server: RegistryServer, change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    def swapped(manifest: dict[str, Any]) -> None:
        config = json.loads(server.blobs[manifest["config"]["digest"]])
        change(config)
        data = canonical(config)
        manifest["config"] |= {"digest": server.put_blob("team/cache", data), "size": len(data)}

    return swapped


FALSE_IMAGES: Mapping[str, Callable[[RegistryServer, ImageDerivation], Callable[[dict[str, Any]], Any]]] = {
    "no JSON": lambda s, i: lambda m: b'{"mediaType": ',
    "a list": lambda s, i: lambda m: b"[1, 2]",
    "nothing": lambda s, i: lambda m: {},
    "layers of another kind": lambda s, i: lambda m: m.update(layers={"a": 1}),
    "digests that are none": lambda s, i: lambda m: m["layers"][0].update(digest="../../x"),
    "sizes that are none": lambda s, i: lambda m: m["layers"][0].update(size=-1),
    "a layer less": lambda s, i: lambda m: m["layers"].pop(),
    "annotations": lambda s, i: lambda m: m.update(annotations={"a": "b"}),
    "another user": lambda s, i: swap_config(s, lambda c: c["config"].update(User="root")),
    "another command": lambda s, i: swap_config(s, lambda c: c["config"].update(Entrypoint=["/evil"])),
    "diff_ids that are none": lambda s, i: swap_config(s, lambda c: c["rootfs"].update(diff_ids=[1, 2, 3])),
    "no root file system": lambda s, i: swap_config(s, lambda c: c.pop("rootfs")),
    "no configuration": lambda s, i: lambda m: s.blobs.pop(m["config"]["digest"]) and None,
    "a configuration of other bytes": lambda s, i: lambda m: s.blobs.update({m["config"]["digest"]: b"{}"}),
    "another derivation's image": lambda s, i: lambda m: b"other",
}


@pytest.mark.parametrize("how", FALSE_IMAGES)
def test_a_false_image_is_not_believed_but_built(
    first: Machine, server: RegistryServer, wheels: Path, pair: list[ImageDerivation], tmp_path: Path, how: str
) -> None:
    cache, image = server.repository("team/cache"), pair[1]
    if how == "another derivation's image":
        cache.tags[image_tag(image.hash)] = cache.tags[image_tag(pair[0].hash)]
    else:
        replaced(cache, image_tag(image.hash), FALSE_IMAGES[how](server, image))
    for layer in image.layers:
        cache.tags.pop(layer_tag(layer.hash))
    second = Machine(tmp_path / "second", server, wheels)
    digest = first.build([image])[0].manifest_digest
    assert second.build([image])[0].manifest_digest == digest
    assert len(second.locator.asked) == 3
    assert len(second.said.warnings) == 1
    assert f"{server.host}/team/cache" in second.said.warnings[0]
    # A push puts it right.
    third = Machine(tmp_path / "third", server, wheels)
    assert third.push([image])[0].digest == digest
    assert cache.tags[image_tag(image.hash)] == digest


FALSE_LAYERS: Mapping[str, Callable[[RegistryServer, dict[str, Any]], Any]] = {
    "no JSON": lambda s, m: b"{",
    "another kind of artifact": lambda s, m: m.update(artifactType="text/plain"),
    "another derivation": lambda s, m: m["annotations"].update({"build.flyte.derivation": "sha256:" + "0" * 64}),
    "no annotations": lambda s, m: m.pop("annotations") and None,
    "a diff_id that is none": lambda s, m: m["annotations"].update({"build.flyte.diff-id": "sha256:xyz"}),
    "a size that is none": lambda s, m: m["annotations"].update({"build.flyte.diff-size": "²"}),
    "no listing": lambda s, m: m["layers"].pop() and None,
    "a listing that is not there": lambda s, m: s.repository("team/cache").blobs.discard(m["layers"][1]["digest"]),
    "a listing of other bytes": lambda s, m: s.blobs.update({m["layers"][1]["digest"]: b"x"}),
    "a listing that is none": lambda s, m: m["layers"][1].update(
        digest=s.put_blob("team/cache", zlib.compress(b"[1]"))
    ),
    "a listing without end": lambda s, m: m["layers"][1].update(
        digest=s.put_blob("team/cache", zlib.compress(b"{}")[:-1])
    ),
    "a listing that is huge": lambda s, m: m["layers"][1].update(size=1 << 40),
}


@pytest.mark.parametrize("how", FALSE_LAYERS)
def test_a_false_layer_is_not_believed_but_built(
    first: Machine, server: RegistryServer, wheels: Path, pair: list[ImageDerivation], tmp_path: Path, how: str
) -> None:
    cache, image, layer = server.repository("team/cache"), pair[1], pair[1].layers[1]
    cache.tags.pop(image_tag(image.hash))
    replaced(cache, layer_tag(layer.hash), lambda m: FALSE_LAYERS[how](server, m))
    second = Machine(tmp_path / "second", server, wheels)
    [pushed] = second.push([image])
    assert second.locator.asked == [layer.artifacts[0].file]
    assert pushed.digest == first.build([image])[0].manifest_digest
    assert layer.hash[:19] in second.said.warnings[0]
    if how == "a listing of other bytes":
        assert "was not written: HEAD" in second.said.warnings[1], "what a registry itself has wrong, no push rights"
        return
    assert len(second.said.warnings) == 1
    assert server.dangling() == []
    # The entry was put right.
    third = Machine(tmp_path / "third", server, tmp_path / "nothing")
    cache.tags.pop(image_tag(image.hash))
    third.build([image])
    assert third.said.warnings == []


@pytest.mark.parametrize("how", ["gone", "other bytes", "shorter", "another diff_id", "another image's diff_ids"])
def test_a_blob_that_is_not_what_was_said_is_made_here(
    first: Machine, server: RegistryServer, wheels: Path, pair: list[ImageDerivation], tmp_path: Path, how: str
) -> None:
    [built] = first.build(pair[1:])
    digest = built.layers[0].digest
    whole = server.blobs[digest]
    if how == "gone":
        del server.blobs[digest]
    elif how == "other bytes":
        server.blobs[digest] = whole[:-1] + b"x"
    elif how == "shorter":
        server.blobs[digest] = whole[:-1]
    elif how == "another image's diff_ids":
        turned = lambda m: m.update(layers=[m["layers"][0], m["layers"][2], m["layers"][1]])  # noqa: E731
        replaced(server.repository("team/cache"), image_tag(pair[1].hash), turned)
    else:
        cache, layer = server.repository("team/cache"), pair[1].layers[0]
        cache.tags.pop(image_tag(pair[1].hash))
        lie = {"build.flyte.diff-id": "sha256:" + "0" * 64}
        replaced(cache, layer_tag(layer.hash), lambda m: m["annotations"].update(lie))
    second = Machine(tmp_path / "second", server, wheels)
    [again] = second.build(pair[1:])
    assert again.manifest_digest == built.manifest_digest
    wrong = [1, 2] if how == "another image's diff_ids" else [0]
    assert [x.pulled for x in again.layers] == [i not in wrong for i in range(3)]
    assert sorted(second.locator.asked) == [pair[1].layers[i].artifacts[0].file for i in wrong]
    assert len(second.said.warnings) == len(wrong)
    assert second.store.verify().ok


def test_a_push_finds_out_that_a_layer_is_gone_and_makes_it(
    first: Machine, server: RegistryServer, wheels: Path, pair: list[ImageDerivation], tmp_path: Path
) -> None:
    [built] = first.build(pair[1:])
    for repository in server.repositories.values():
        repository.blobs.discard(built.layers[0].digest)
    del server.blobs[built.layers[0].digest]
    second = Machine(tmp_path / "second", server, wheels)
    [pushed] = second.push([replace(pair[1], environment="elsewhere")])
    assert pushed.digest == built.manifest_digest
    assert pushed.uploaded > SIZE
    assert second.locator.asked == [pair[1].layers[0].artifacts[0].file]
    assert len([w for w in second.said.warnings if "bad entry" in w]) == 2, "the image, and its layer"
    assert [lost for lost in server.dangling() if lost.startswith(("team/elsewhere", "team/cache"))] == []


def test_a_listing_that_lies_accuses_nobody(
    first: Machine, server: RegistryServer, wheels: Path, pair: list[ImageDerivation], tmp_path: Path
) -> None:
    cache, image, layer = server.repository("team/cache"), pair[1], pair[1].layers[1]
    cache.tags.pop(image_tag(image.hash))
    mine = first.store.listing(image.layers[0].hash)
    lie = zlib.compress(canonical(dict.fromkeys(mine, "f 0777 1 00000000")))
    replaced(
        cache,
        layer_tag(layer.hash),
        lambda m: m["layers"][1].update(digest=server.put_blob("team/cache", lie), size=len(lie)),
    )
    second = Machine(tmp_path / "second", server, wheels)
    [pushed] = second.push([image])
    assert pushed.digest == first.build([image])[0].manifest_digest
    assert any("would conflict" in warning for warning in second.said.warnings)


def test_layers_with_files_at_one_path_are_the_same_image_with_a_cache(
    server: RegistryServer, wheels: Path, tmp_path: Path
) -> None:
    alpha = wheel_layer(wheels, "alpha")
    (tmp_path / "more").mkdir()
    other = wheel_layer(tmp_path / "more", "alpha", 5000)
    (tmp_path / "more" / "alpha-1.0-py3-none-any.whl").rename(wheels / "alpha-2.0-py3-none-any.whl")
    renamed = replace(other.artifacts[0], file="alpha-2.0-py3-none-any.whl")
    other = replace(other, artifacts=(renamed,), spec={**other.spec, "title": "alpha again"})
    one, two = Machine(tmp_path / "one", server, wheels), Machine(tmp_path / "two", server, wheels)
    one.push([image_of("a", [alpha]), image_of("b", [other])])
    [pushed] = two.push([image_of("c", [alpha, other])])
    [alone] = Machine(tmp_path / "three", server, wheels).build([image_of("c", [alpha, other])])
    assert pushed.digest == alone.manifest_digest, "the upper layer's files are seen, whoever made it"
    assert [layer.digest for layer in alone.layers] == list(dict.fromkeys(layer.digest for layer in alone.layers))


def test_an_image_that_is_not_the_pinned_one_is_not_believed(
    first: Machine, server: RegistryServer, pair: list[ImageDerivation], fresh: Machine
) -> None:
    with fresh.connected() as shared:
        shared.expect({pair[0].hash: "sha256:" + "0" * 64})
        assert set(shared.images(pair)) == {pair[1].hash}
    assert "expected the pinned digest sha256:000" in fresh.said.warnings[0]
