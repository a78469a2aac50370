"""Registry bases: a name becomes an image by digest on one platform, what is in it becomes facts, and both stay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.errors import ArtifactError, LockError, RefusedError, RegistryError
from flyte_build.locking.lock import Lock
from flyte_build.locking.lockedbase import Distribution
from flyte_build.locking.lockfile import lock_path, parse, read
from flyte_build.recipe import AptInstall, EnvVars, PipInstall, Recipe, RegistryBase, Step
from flyte_build.reporting import Recorder

from ..support.bases import BaseImage, debian_base, digest, layer, publish_base, publish_index
from ..support.index import SimpleIndex
from ..support.locking import FakeDebian, pins, project, publish
from ..support.registry import RegistryServer

AMD64 = "linux/amd64"


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        yield server


def based(reference: str, *steps: Step | str, platforms: tuple[Any, ...] = (AMD64,), **more: Any) -> Recipe:
    made = tuple(PipInstall(tuple(s.split())) if isinstance(s, str) else s for s in steps)
    return Recipe(RegistryBase(reference, **more), platforms, None, None, made)


def lock_one(recipe: Recipe, folder: Path, index: SimpleIndex, **more: Any) -> Lock:
    return project({"env": recipe}, folder / "lockfiles", index, **more).locks["env"]


def test_a_tag_becomes_the_platforms_manifest_and_the_facts_are_what_is_in_it(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path
) -> None:
    image = debian_base()
    whole = publish_index(registry, "team/python", [replace(image, architecture="arm64"), image])
    lock = lock_one(based(f"{registry.host}/team/python:1"), tmp_path, index)
    base = lock.platforms[AMD64].base
    assert base is not None
    blobs, config, manifest, media = image.parts()
    assert base.reference == f"{registry.host}/team/python:1@{digest(manifest)}"
    assert base.index == whole
    assert base.pinned == f"{registry.host}/team/python@{whole}"
    assert (base.manifest.media_type, base.manifest.digest, base.manifest.size) == (
        media,
        digest(manifest),
        len(manifest),
    )
    assert base.config.digest == digest(config)
    assert [(x.digest, x.size) for x in base.layers] == [(digest(b), len(b)) for b in blobs]
    assert [x.diff_id for x in base.layers] == [digest(t) for t in image.layers]
    facts = base.facts
    assert facts is not None
    assert (facts.python, facts.python_full, facts.venv) == ("/usr/local/bin/python3.12", "3.12.7", None)
    assert facts.glibc == "2.36"
    assert facts.certificates == "/etc/ssl/certs/ca-certificates.crt"
    assert facts.system == "debian bookworm"
    assert (facts.uid, facts.gid, facts.flyte) == (0, 0, None)
    assert facts.merged
    assert facts.debs == ("libc6 2.36-9+deb12u7 amd64",)
    assert facts.modules == ("pip",)
    assert facts.distributions == (Distribution("pip", "24.0"),)
    assert {"/home", "/opt", "/root"} <= set(facts.folders)
    assert lock.python == "3.12"


def test_a_lock_with_a_base_reads_back_as_it_was_and_has_a_line_for_each_layer(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path
) -> None:
    publish(index.folder, "a 1.0")
    publish_base(registry, "b", debian_base(docker=True))
    lock = lock_one(based(f"{registry.host}/b:1", "a"), tmp_path, index)
    path = lock_path(tmp_path / "lockfiles", "env")
    text = path.read_text()
    assert parse(text, path) == lock
    base = lock.platforms[AMD64].base
    assert base is not None
    for one in base.layers:
        (row,) = [line for line in text.splitlines() if one.digest in line]
        assert json.loads(row.strip().rstrip(","))["size"] == one.size
    assert max(text.count(line) for line in text.splitlines() if "diff_id" in line) == 1


def test_a_broken_base_in_a_lock_is_an_error_that_says_where(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path
) -> None:
    publish_base(registry, "b", debian_base())
    lock_one(based(f"{registry.host}/b:1"), tmp_path, index)
    path = lock_path(tmp_path / "lockfiles", "env")
    broken = (
        (lambda base: base["layers"][1].update(size=-1), r"base\.layers\[1\]\.size"),
        (lambda base: base["facts"].update(modules="pip"), r"base\.facts\.modules"),
        (lambda base: base.update(reference="x@sha256:" + "0" * 64), r"base\.reference"),
        (lambda base: base.update(more=1), r"base\.more"),
        (lambda base: base["facts"].update(flyte=[1]), r"base\.facts\.flyte"),
    )
    for change, where in broken:
        raw = json.loads(path.read_text())
        change(raw["platforms"][AMD64]["base"])
        with pytest.raises(LockError, match=where):
            parse(json.dumps(raw), path)


def test_packages_are_resolved_for_the_bases_python_and_libc(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path
) -> None:
    publish(index.folder, "a 1.0 [cp311-cp311-manylinux_2_17_x86_64]", "a 1.0 [cp312-cp312-manylinux_2_36_x86_64]")
    publish(index.folder, "a 1.0 [cp312-cp312-manylinux_2_39_x86_64]", "b 1.0: c; python_full_version == '3.12.7'")
    publish(index.folder, "c 1.0")
    publish_base(registry, "b", debian_base())
    lock = lock_one(based(f"{registry.host}/b:1", "a b"), tmp_path, index)
    wheels = {w.name: w.file for w in lock.platforms[AMD64].wheels}
    assert wheels["a"] == "a-1.0-cp312-cp312-manylinux_2_36_x86_64.whl"
    assert "c" in wheels


def test_a_base_is_read_once_on_a_machine(registry: RegistryServer, index: SimpleIndex, tmp_path: Path) -> None:
    image = debian_base()
    publish_base(registry, "b", image)
    lock_one(based(f"{registry.host}/b:1"), tmp_path, index)
    assert registry.count("GET", "blob") == 1 + len(image.layers)
    registry.forget_requests()
    publish(index.folder, "a 1.0")
    lock_one(based(f"{registry.host}/b:1", "a"), tmp_path / "elsewhere", index)
    assert registry.count("GET", "blob") == 1, "the configuration only"


def test_a_digest_stays_until_an_upgrade_and_a_moved_tag_is_told(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path
) -> None:
    publish(index.folder, "a 1.0")
    first = publish_base(registry, "b", debian_base())
    recipe = based(f"{registry.host}/b:1")
    lock_one(recipe, tmp_path, index)
    second = publish_base(registry, "b", debian_base(config={"Env": ["PATH=/usr/local/bin"], "Labels": {"new": "1"}}))
    assert first != second

    again = project({"env": recipe}, tmp_path / "lockfiles", index)
    assert again.written == ()
    assert again.notes == (f"{registry.host}/b:1 leads to another image now; `--upgrade` takes it",)
    changed = project({"env": based(f"{registry.host}/b:1", "a")}, tmp_path / "lockfiles", index)
    kept = changed.locks["env"].platforms[AMD64].base
    assert kept is not None
    assert kept.manifest.digest == first, "another step does not move the base"

    report = project({"env": recipe}, tmp_path / "lockfiles", index, upgrade=True)
    moved = report.locks["env"].platforms[AMD64].base
    assert moved is not None
    assert moved.manifest.digest == second
    assert any(f"{first} → {second}" in note for note in report.notes)


def test_a_lock_that_changes_nothing_needs_no_registry(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path
) -> None:
    publish_base(registry, "b", debian_base())
    recipe = based(f"{registry.host}/b@{publish_base(registry, 'b', debian_base())}")
    lock_one(recipe, tmp_path, index)
    registry.forget_requests()
    project({"env": recipe}, tmp_path / "lockfiles", index)
    assert registry.count() == 0


def test_images_on_one_base_stay_on_one_digest(registry: RegistryServer, index: SimpleIndex, tmp_path: Path) -> None:
    publish_base(registry, "b", debian_base())
    recipes = {"one": based(f"{registry.host}/b:1")}
    project(recipes, tmp_path / "lockfiles", index)
    publish_base(registry, "b", debian_base(config={"Env": ["PATH=/usr/local/bin"]}))
    report = project(
        {**recipes, "two": based(f"{registry.host}/b:1", EnvVars((("A", "b"),)))}, tmp_path / "lockfiles", index
    )
    one, two = (report.locks[name].platforms[AMD64].base for name in ("one", "two"))
    assert one == two


def test_a_stale_lock_names_the_old_base_and_the_new(
    registry: RegistryServer, index: SimpleIndex, tmp_path: Path
) -> None:
    publish_base(registry, "b", debian_base())
    lock = lock_one(based(f"{registry.host}/b:1"), tmp_path, index)
    changes = lock.staleness(based(f"{registry.host}/b:2"))
    assert changes == [f"base: {registry.host}/b:1 → {registry.host}/b:2"]


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
