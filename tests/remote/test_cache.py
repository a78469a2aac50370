"""The shared cache: what somebody built is neither built nor downloaded again."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.deriving.derivation import ImageDerivation
from flyte_build.kernel.errors import FetchError
from flyte_build.remote.cache_entries import image_tag, layer_tag
from flyte_build.store import LayerRealisation
from tests.remote.site import Machine, tags
from tests.support.images import image_of, wheel_layer
from tests.support.registry import RegistryServer

from .conftest import SIZE


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
