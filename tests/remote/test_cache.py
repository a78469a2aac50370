"""The shared cache: what somebody built is neither built nor downloaded again, and nothing false is believed."""

from __future__ import annotations

import json
import socket
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble.image import canonical
from flyte_build.deriving.derivation import ImageDerivation
from flyte_build.kernel.errors import ArtifactError, FetchError
from flyte_build.remote.cache_entries import image_tag, layer_tag
from flyte_build.store import LayerRealisation
from tests.remote.site import Machine, tags
from tests.support.images import image_of, wheel_layer
from tests.support.registry import RegistryServer, Repository, sha256

SIZE = 20_000


@pytest.fixture
def first(server: RegistryServer, wheels: Path, pair: list[ImageDerivation], tmp_path: Path) -> Machine:
    """The machine that built and pushed both images."""
    machine = Machine(tmp_path / "first", server, wheels)
    machine.push(pair, "v1")
    assert machine.said.warnings == []
    server.forget_requests()
    return machine


@pytest.fixture
def fresh(server: RegistryServer, tmp_path: Path) -> Machine:
    """A machine with an empty store, and nowhere to fetch artifacts from."""
    return Machine(tmp_path / "fresh", server, tmp_path / "nothing")


def asked(server: RegistryServer) -> list[tuple[str, str, str]]:
    """(method, repository, what) of every request, sorted."""
    rows = []
    for seen in server.requests:
        repository, _, what = seen.path.removeprefix("/v2/").partition("/manifests/")
        if not what:
            repository, _, what = seen.path.removeprefix("/v2/").partition("/blobs/")
        rows.append((seen.method, repository, what.partition("-")[0] if "sha256" not in what else "digest"))
    return sorted(rows)


def test_a_fresh_machine_pushes_a_known_image_with_three_questions(
    first: Machine, fresh: Machine, server: RegistryServer, pair: list[ImageDerivation]
) -> None:
    [pushed] = fresh.push(pair[1:])
    assert fresh.locator.asked == []
    assert asked(server) == [
        ("GET", "team/cache", "digest"),  # the configuration
        ("GET", "team/cache", "image"),  # the manifest
        ("HEAD", "team/top", "drv"),
    ]
    [built] = first.build(pair[1:])
    assert (pushed.digest, pushed.existing) == (built.manifest_digest, built.size)
    manifest = first.store.manifest(built.manifest_digest)
    assert manifest is not None
    assert server.bytes_out("blob") == manifest["config"]["size"]
    assert fresh.store.tags() == {}
    assert sum(p.stat().st_size for p in fresh.store.blobs.iterdir()) < 2000, "no layer was downloaded"
    assert fresh.said.warnings == []


def test_what_another_repository_lacks_is_mounted_from_the_cache(
    first: Machine, fresh: Machine, server: RegistryServer, pair: list[ImageDerivation]
) -> None:
    elsewhere = replace(pair[1], environment="renamed")
    server.forget_requests()
    [pushed] = fresh.push([elsewhere], "v2")
    layers = sum(x.size for x in first.build(pair[1:])[0].layers)
    manifest = first.store.manifest(pushed.digest)
    assert manifest is not None
    assert pushed.mounted == layers + manifest["config"]["size"]
    assert pushed.uploaded == first.store.blob_path(pushed.digest).stat().st_size, "the manifest"
    assert server.bytes_out("blob") < 1000, "only the configuration was read"
    assert server.count("POST", "upload") == 4
    assert server.dangling() == []
    assert tags(server, "team/renamed")["v2"] == pushed.digest


def test_an_unknown_image_is_composed_of_known_layers_and_only_the_new_one_is_made(
    first: Machine, fresh: Machine, server: RegistryServer, pair: list[ImageDerivation], tmp_path: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    delta = wheel_layer(tmp_path / "nothing", "delta", SIZE)
    image = image_of("new", [*pair[0].layers, delta])
    [built] = fresh.build([image], local=False)
    assert fresh.locator.asked == [delta.artifacts[0].file]
    assert [x.source for x in built.layers] == [f"{server.host}/team/cache"] * 2 + [None]
    assert not built.local
    assert asked(server) == [
        ("GET", "team/cache", "digest"),  # two listings
        ("GET", "team/cache", "digest"),
        ("GET", "team/cache", "image"),
        ("GET", "team/cache", "layer"),
        ("GET", "team/cache", "layer"),
        ("GET", "team/cache", "layer"),
    ]
    [pushed] = fresh.push([image])
    assert pushed.digest == built.manifest_digest
    assert pushed.mounted == sum(x.size for x in first.build(pair[:1])[0].layers)
    assert server.dangling() == []
    whole = Machine(tmp_path / "whole", server, tmp_path / "nothing", cached=False)
    for path in (tmp_path / "wheels").iterdir():
        (tmp_path / "nothing" / path.name).write_bytes(path.read_bytes())
    assert whole.build([image])[0].manifest_digest == built.manifest_digest
    # And the next one knows it all.
    server.forget_requests()
    third = Machine(tmp_path / "third", server, tmp_path / "none")
    third.push([image])
    assert len(server.requests) == 3


def test_a_build_pulls_what_is_known_and_has_it_all(
    first: Machine, fresh: Machine, server: RegistryServer, pair: list[ImageDerivation]
) -> None:
    made = fresh.build(pair)
    assert fresh.locator.asked == []
    assert [b.manifest_digest for b in made] == [b.manifest_digest for b in first.build(pair)]
    assert all(b.local and all(x.pulled and not x.reused for x in b.layers) for b in made)
    assert asked(server) == [("GET", "team/cache", "digest")] * 5 + [("GET", "team/cache", "image")] * 2
    assert fresh.store.verify().ok
    for layer in pair[1].layers:
        assert fresh.store.listing(layer.hash) == first.store.listing(layer.hash)
        assert fresh.store.layer(layer.hash) == first.store.layer(layer.hash)
    server.forget_requests()
    assert all(b.reused for b in fresh.build(pair))
    assert server.requests == []


def test_a_layer_that_is_here_is_not_asked_for(
    first: Machine, server: RegistryServer, wheels: Path, pair: list[ImageDerivation], tmp_path: Path
) -> None:
    second = Machine(tmp_path / "second", server, wheels)
    second.build(pair[:1])
    server.forget_requests()
    [top] = second.build(pair[1:])
    assert asked(server) == [("GET", "team/cache", "digest")] * 2 + [("GET", "team/cache", "image")]
    assert [x.pulled for x in top.layers] == [False, False, True]


# -- what is false ---------------------------------------------------------------------------------


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


def test_layers_that_do_conflict_are_refused_all_the_same(server: RegistryServer, wheels: Path, tmp_path: Path) -> None:
    alpha = wheel_layer(wheels, "alpha")
    (tmp_path / "more").mkdir()
    other = wheel_layer(tmp_path / "more", "alpha", 5000)
    (tmp_path / "more" / "alpha-1.0-py3-none-any.whl").rename(wheels / "alpha-2.0-py3-none-any.whl")
    renamed = replace(other.artifacts[0], file="alpha-2.0-py3-none-any.whl")
    other = replace(other, artifacts=(renamed,), spec={**other.spec, "title": "alpha again"})
    one, two = Machine(tmp_path / "one", server, wheels), Machine(tmp_path / "two", server, wheels)
    one.push([image_of("a", [alpha]), image_of("b", [other])])
    with pytest.raises(ArtifactError, match="both hold"):
        two.push([image_of("c", [alpha, other])])
    assert "c" not in {name.partition("/")[2] for name in server.repositories}


def test_an_image_that_is_not_the_pinned_one_is_not_believed(
    first: Machine, server: RegistryServer, pair: list[ImageDerivation], fresh: Machine
) -> None:
    with fresh.connected() as shared:
        shared.expect({pair[0].hash: "sha256:" + "0" * 64})
        assert set(shared.images(pair)) == {pair[1].hash}
    assert "expected the pinned digest sha256:000" in fresh.said.warnings[0]


# -- where there is no cache -----------------------------------------------------------------------


def test_a_cache_that_cannot_be_reached_is_a_warning(
    server: RegistryServer, wheels: Path, pair: list[ImageDerivation], tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
        machine = Machine(tmp_path / "one", server, wheels, cache_host=nobody)
        low, _ = machine.push(pair)
    assert len(machine.locator.asked) == 3
    assert len(machine.said.warnings) == 1
    assert machine.said.warnings[0].startswith(f"the cache {nobody}/team/cache cannot be asked")
    assert tags(server, "team/low") != {}
    assert low.uploaded > 0


def test_a_cache_that_may_not_be_written_is_a_warning_and_the_push_stands(
    server: RegistryServer, wheels: Path, pair: list[ImageDerivation], tmp_path: Path
) -> None:
    server.fail("PUT", "manifest", status=403, times=99, match="team/cache")
    machine = Machine(tmp_path / "one", server, wheels)
    pushed = machine.push(pair, "v1")
    assert [tags(server, f"team/{p.environment}")["v1"] for p in pushed] == [p.digest for p in pushed]
    assert len(machine.said.warnings) == 1
    assert "was not written: PUT" in machine.said.warnings[0]


def test_a_cache_that_denies_access_is_said_once_however_much_is_asked(
    server: RegistryServer, wheels: Path, pair: list[ImageDerivation], tmp_path: Path
) -> None:
    server.fail("GET", "manifest", status=401, times=99)
    machine = Machine(tmp_path / "one", server, wheels)
    machine.build(pair)
    assert len(set(machine.said.warnings)) == 1


def test_without_a_cache_nobody_is_asked_and_nothing_is_believed(
    first: Machine, server: RegistryServer, pair: list[ImageDerivation], tmp_path: Path
) -> None:
    machine = Machine(tmp_path / "one", server, tmp_path / "nothing", cached=False)
    with pytest.raises(FetchError):
        machine.build(pair)
    assert server.requests == []


def test_two_caches_are_asked_in_turn_and_the_first_is_written(
    first: Machine, server: RegistryServer, pair: list[ImageDerivation], tmp_path: Path
) -> None:
    from flyte_build.registry.client import Registry
    from flyte_build.registry.reference import Reference
    from flyte_build.remote.cache import RemoteCache
    from flyte_build.remote.pushing import push_built
    from flyte_build.remote.target import Target

    machine = Machine(tmp_path / "one", server, tmp_path / "nothing")
    with Registry(attempts=1) as registry:
        places = [Reference.parse(f"{server.host}/{name}") for name in ("mine/cache", "team/cache")]
        shared = RemoteCache(lambda _: registry, places, machine.said)
        target = Target.of(machine.settings, registry, (), shared)
        new = image_of("new", pair[1].layers[1:])
        push_built(lambda: machine._build([new], shared, False), machine.store, target, shared, machine.said)
    mine = server.repository("mine/cache")
    assert set(mine.tags) == {image_tag(new.hash), *(layer_tag(x.hash) for x in new.layers)}
    assert server.dangling() == []
    assert machine.said.warnings == []
    again = Machine(tmp_path / "two", server, tmp_path / "nothing")
    with Registry(attempts=1) as registry:
        shared = RemoteCache(lambda _: registry, places[:1], again.said)
        [pulled] = again._build([new], shared, True)
    assert all(isinstance(again.store.layer(x.derivation), LayerRealisation) for x in pulled.layers)
