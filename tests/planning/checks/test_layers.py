"""Modules of wheels that are not here, from the layers that they became: the store's, then a shared cache's."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from flyte_build.deriving.derivation import ImageDerivation, LayerDerivation
from flyte_build.locks.nouns import LockedWheel
from flyte_build.planning.checks.wheels.contents import Contents
from flyte_build.planning.checks.wheels.layers import WheelLayers
from flyte_build.store.realisations import hexadecimal
from tests.remote.site import Machine
from tests.support.images import image_of, wheel_artifact, wheels_layer
from tests.support.registry import RegistryServer
from tests.support.wheels import build_wheel


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wheels").mkdir()
    return tmp_path / "wheels"


@pytest.fixture
def image(folder: Path) -> ImageDerivation:
    """A wheel of its own, which another layer has with a second one."""
    alpha = wheel_artifact(build_wheel(folder, "alpha", files={"a/__init__.py": "", "a/b.py": ""}))
    beta = wheel_artifact(build_wheel(folder, "beta", files={"beta.py": "", "other/__init__.py": ""}))
    gamma = wheel_artifact(build_wheel(folder, "gamma", files={"gamma.py": "x = 1\n"}))
    return image_of("env", [wheels_layer("alpha 1.0", [alpha]), wheels_layer("beta, gamma", [beta, gamma])])


def wheel(image: ImageDerivation, name: str) -> LockedWheel:
    return next(
        a.source for a in image.artifacts.values() if isinstance(a.source, LockedWheel) and a.source.name == name
    )


def forget_artifacts(machine: Machine) -> None:
    for path in machine.store.artifacts.iterdir():
        path.unlink()


def asked(machine: Machine, layers: Sequence[LayerDerivation], *wheels: LockedWheel) -> dict[str, list[str]]:
    """What is found of ``wheels`` by name, without an index."""
    with machine.connected() as shared:
        known = WheelLayers(lambda: layers, machine.store, shared)
        found = Contents(machine.folder, machine.store, None, None, known)(wheels)
    return {w.name: sorted(found[w.sha256]) for w in wheels if w.sha256 in found}


def test_the_stores_layer_tells_when_the_wheel_is_gone(
    tmp_path: Path, folder: Path, server: RegistryServer, image: ImageDerivation
) -> None:
    machine = Machine(tmp_path / "m", server, folder)
    machine.build([image])
    server.forget_requests()
    forget_artifacts(machine)
    every = [wheel(image, n) for n in ("alpha", "beta", "gamma")]
    assert asked(machine, image.layers, *every) == {
        "alpha": ["a", "a.b"],
        "beta": ["beta", "other"],
        "gamma": ["gamma"],
    }
    assert server.requests == [], "what the store tells, no cache is asked"
    assert not (machine.folder / "modules").exists(), "only what a wheel says itself is kept"


def test_a_fresh_machine_asks_the_cache_two_things_a_layer(
    tmp_path: Path, folder: Path, server: RegistryServer, image: ImageDerivation
) -> None:
    Machine(tmp_path / "first", server, folder).push([image])
    server.forget_requests()
    fresh = Machine(tmp_path / "fresh", server, tmp_path)
    assert asked(fresh, image.layers, wheel(image, "beta")) == {"beta": ["beta", "other"]}
    assert [(s.method, s.kind) for s in server.requests] == [("GET", "manifest"), ("GET", "blob")]
    server.forget_requests()
    every = [wheel(image, n) for n in ("alpha", "beta", "gamma")]
    assert len(asked(fresh, image.layers, *every)) == 3
    assert Counter((s.method, s.kind) for s in server.requests) == {("GET", "manifest"): 2, ("GET", "blob"): 2}
    assert not (fresh.folder / "modules").exists(), "a cache's word is not kept"


def test_of_several_layers_the_one_with_the_fewest_wheels_is_asked(
    tmp_path: Path, folder: Path, server: RegistryServer, image: ImageDerivation
) -> None:
    alpha, both = image.layers
    more = wheels_layer("alpha, beta, gamma", [*alpha.artifacts, *both.artifacts])
    Machine(tmp_path / "first", server, folder).push([image_of("one", [more]), image])
    fresh = Machine(tmp_path / "fresh", server, tmp_path)
    server.forget_requests()
    layers = [more, both, alpha]
    assert asked(fresh, layers, wheel(image, "alpha")) == {"alpha": ["a", "a.b"]}
    assert server.count() == 2
    del server.repository("team/cache").tags[f"layer-{hexadecimal(alpha.hash)}"]
    server.forget_requests()
    assert asked(fresh, layers, wheel(image, "alpha")) == {"alpha": ["a", "a.b"]}, "concluded among three"
    assert server.count() == 3


@pytest.mark.parametrize("harm", ["manifest", "listing", "other"])
def test_what_does_not_hold_is_not_used(
    tmp_path: Path, folder: Path, server: RegistryServer, image: ImageDerivation, harm: str
) -> None:
    Machine(tmp_path / "first", server, folder).push([image])
    cache = server.repository("team/cache")
    tag = f"layer-{hexadecimal(image.layers[0].hash)}"
    if harm == "manifest":
        cache.tags[tag] = cache.tags[f"layer-{hexadecimal(image.layers[1].hash)}"]
    elif harm == "listing":
        server.fail("GET", "blob", status=404, times=9)
    else:
        kind, manifest = cache.manifests[cache.tags[tag]]
        listed = zlib.compress(b'{"opt/venv/lib/python3.11/site-packages/a.py":"f 0644 1 00000000"}')
        digest = server.put_blob("team/cache", listed)
        document = json.loads(manifest)
        document["layers"][1] |= {"digest": digest, "size": len(listed)}
        changed = json.dumps(document).encode()
        cache.tags[tag] = "sha256:" + hashlib.sha256(changed).hexdigest()
        cache.manifests[cache.tags[tag]] = kind, changed
    fresh = Machine(tmp_path / "fresh", server, tmp_path)
    assert asked(fresh, image.layers, wheel(image, "alpha")) == {}
    assert sum("has a bad entry" in text for text in fresh.said.warnings) == 1


def test_a_damaged_listing_of_the_store_is_passed_over(
    tmp_path: Path, folder: Path, server: RegistryServer, image: ImageDerivation
) -> None:
    machine = Machine(tmp_path / "m", server, folder, cached=False)
    machine.build([image])
    forget_artifacts(machine)
    listing = machine.store.listings / hexadecimal(image.layers[0].hash)
    listing.chmod(0o644)
    listing.write_bytes(b"x")
    assert asked(machine, image.layers, wheel(image, "alpha"), wheel(image, "gamma")) == {"gamma": ["gamma"]}


def test_what_a_wheel_said_itself_comes_first(
    tmp_path: Path, folder: Path, server: RegistryServer, image: ImageDerivation
) -> None:
    machine = Machine(tmp_path / "m", server, folder)
    machine.build([image])
    beta, gamma = wheel(image, "beta"), wheel(image, "gamma")
    contents = Contents(machine.folder, machine.store, None)
    assert contents([gamma]) == {gamma.sha256: {"gamma"}}
    forget_artifacts(machine)
    kept = machine.folder / "modules" / f"{gamma.sha256}.json"
    kept.write_text('{"schema": 2, "modules": ["gamma", "other"]}')
    assert asked(machine, image.layers, gamma, beta) == {"gamma": ["gamma", "other"], "beta": ["beta"]}
