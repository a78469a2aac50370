"""Registry bases that cannot be what they are asked for: each refusal says what is there instead, and the way out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.kernel.errors import ArtifactError, RefusedError, RegistryError
from flyte_build.kernel.reporting import Recorder
from flyte_build.locks.lockfile import read
from flyte_build.recipe import AptInstall, EnvVars, Recipe, RegistryBase

from ..support.bases import BaseImage, debian_base, digest, layer, publish_base, publish_index
from ..support.index import SimpleIndex
from ..support.locking import FakeDebian, pins
from ..support.registry import RegistryServer
from .test_registry_bases import AMD64, based, lock_one


def test_a_platform_that_the_base_lacks_names_those_it_has(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path
) -> None:
    publish_index(registry, "b", [debian_base()])
    publish_base(registry, "single", debian_base())
    for name in ("b", "single"):
        with pytest.raises(RefusedError, match="expected an image for linux/arm64, found one for linux/amd64"):
            lock_one(based(f"{registry.host}/{name}:1", platforms=("linux/arm64",)), tmp_path, index)


def test_an_image_that_is_not_there_says_what_to_do(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path
) -> None:
    with pytest.raises(RegistryError, match="no such image") as caught:
        lock_one(based(f"{registry.host}/b:1"), tmp_path, index)
    assert "FLYTE_BUILD_REGISTRY_MIRROR" in (caught.value.hint or "")


@pytest.mark.parametrize("official", [False, True])
def test_a_registry_that_lets_nobody_in_is_told_once_and_may_be_mirrored(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path, official: bool
) -> None:
    registry.fail("GET", "manifest", status=403, times=99)
    base = RegistryBase(f"{registry.host}/b:1", official=official)
    with pytest.raises(RegistryError, match="403 Forbidden") as caught:
        lock_one(Recipe(base, (AMD64,), "3.12", None), tmp_path, index)
    hint = caught.value.hint or ""
    assert hint.startswith("the account may not do this")
    assert "; or name a mirror of it with $FLYTE_BUILD_REGISTRY_MIRROR" in hint
    assert "check the name and your login" not in hint, "the registry's own error has said what to do"
    assert ('take `base = "registry"` out of the settings' in hint) is official


def test_the_official_image_is_read_from_a_mirror_and_named_as_itself(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_base(registry, "hub/library/python", debian_base(), "3.12-slim-bookworm")
    monkeypatch.setenv("FLYTE_BUILD_REGISTRY_MIRROR", f"quay.example=x.example docker.io={registry.host}/hub")
    official = RegistryBase("docker.io/library/python:3.12-slim-bookworm", official=True)
    lock = lock_one(Recipe(official, (AMD64,), "3.12", None), tmp_path, index)
    base = lock.platforms[AMD64].base
    assert base is not None
    assert base.name == "docker.io/library/python:3.12-slim-bookworm"
    assert registry.host not in lock.text()
    with pytest.raises(RefusedError, match=r"expected Python 3\.14, found 3\.12\.7"):
        lock_one(Recipe(official, (AMD64,), "3.14", "2.12.1"), tmp_path / "other", index)


def test_musl_is_refused_and_so_is_a_base_without_python(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path
) -> None:
    musl = layer(
        {"lib/ld-musl-x86_64.so.1": "", "usr/bin/python3.12": ("", 0o755), "usr/bin/python3": ["-> python3.12"]}
    )
    publish_base(registry, "alpine", BaseImage([musl]))
    publish_base(registry, "empty", BaseImage([layer({"etc/hostname": "x"})]))
    for name, why in (("alpine", "no GNU C library"), ("empty", "no Python on its PATH")):
        with pytest.raises(RefusedError, match=why):
            lock_one(based(f"{registry.host}/{name}:1", "a"), tmp_path, index)
        recorder = Recorder()
        lock_one(based(f"{registry.host}/{name}:1", EnvVars((("A", "b"),))), tmp_path, index, reporter=recorder)
        assert any("has no CA bundle" in w for w in recorder.warnings)


def test_a_base_of_wrong_parts_is_an_error(registry: RegistryServer, index: SimpleIndex, tmp_path: Path) -> None:
    good = debian_base()
    blobs, config, manifest, media = good.parts()
    lying = json.loads(config)
    lying["rootfs"]["diff_ids"][0] = digest(b"another")
    data = json.dumps(lying).encode()
    registry.put_blob("b", data)
    for blob in blobs:
        registry.put_blob("b", blob)
    document = json.loads(manifest)
    document["config"].update(digest=digest(data), size=len(data))
    changed = json.dumps(document).encode()
    repository = registry.repository("b")
    repository.manifests[digest(changed)] = (media, changed)
    repository.tags["1"] = digest(changed)
    with pytest.raises(ArtifactError, match="expected a layer with the diff_id"):
        lock_one(based(f"{registry.host}/b:1", EnvVars((("A", "b"),))), tmp_path, index)
    recorder = Recorder()
    lock = lock_one(based(f"{registry.host}/b:1"), tmp_path, index, reporter=recorder)
    base = lock.platforms[AMD64].base
    assert base is not None
    assert base.facts is None
    assert any("used as it is" in w for w in recorder.warnings)
    # What could not be read stands in the way as soon as something is to be put on it.
    with pytest.raises(ArtifactError):
        lock_one(based(f"{registry.host}/b:1", EnvVars((("A", "b"),))), tmp_path, index)


def test_layers_that_cannot_be_stacked_are_refused(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path
) -> None:
    blobs, config, manifest, media = debian_base().parts()
    for blob in (*blobs, config):
        registry.put_blob("b", blob)
    document = json.loads(manifest)
    document["layers"][0]["mediaType"] = "application/vnd.example.encrypted"
    changed = json.dumps(document).encode()
    registry.repository("b").manifests[digest(changed)] = (media, changed)
    registry.repository("b").tags["1"] = digest(changed)
    with pytest.raises(RefusedError, match=r"application/vnd\.example\.encrypted"):
        lock_one(based(f"{registry.host}/b:1"), tmp_path, index)


def test_an_image_used_as_it_is_without_flyte_is_a_warning(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path
) -> None:
    publish_base(registry, "b", debian_base())
    recorder = Recorder()
    lock = lock_one(based(f"{registry.host}/b:1"), tmp_path, index, reporter=recorder)
    assert any("holds no flyte package" in w for w in recorder.warnings)
    assert pins(lock) == {}


def test_debian_packages_are_solved_against_what_is_installed(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path
) -> None:
    publish_base(registry, "b", debian_base())
    debian = FakeDebian()
    lock = lock_one(based(f"{registry.host}/b:1", AptInstall(("git",))), tmp_path, index, debian=debian)
    held = lock.platforms[AMD64]
    assert (held.suite, [(d.name, d.base) for d in held.debs]) == ("bookworm", [("git", False)])
    assert debian.calls == [(None, "bookworm", "amd64", "libc6", ("git",))]
    assert read(tmp_path / "lockfiles", "env") == lock


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"usr/lib/os-release": "ID=ubuntu\nVERSION_CODENAME=noble\n"}, "it is ubuntu noble"),
        ({"var/lib/dpkg/.wh.status": ""}, "no database"),
        ({".wh.bin": "", "bin/sh": ""}, "no links into /usr"),
    ],
)
def test_debian_packages_are_refused_where_they_cannot_be_added_soundly(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path, change: dict[str, str], why: str
) -> None:
    image = debian_base()
    publish_base(registry, "b", replace(image, layers=[*image.layers, layer(change)]))
    with pytest.raises(RefusedError, match=why):
        lock_one(based(f"{registry.host}/b:1", AptInstall(("git",))), tmp_path, index)
