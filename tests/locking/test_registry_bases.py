"""Registry bases: a name becomes an image by digest on one platform, what is in it becomes facts, and both stay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import LockError
from flyte_build.locks.base import Distribution
from flyte_build.locks.lockfile import lock_path, parse
from flyte_build.locks.nouns import Lock
from flyte_build.recipe import EnvVars, PipInstall, Recipe, RegistryBase, Step

from ..support.bases import debian_base, digest, publish_base, publish_index
from ..support.index import SimpleIndex
from ..support.locking import project, publish
from ..support.registry import RegistryServer

AMD64 = "linux/amd64"


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
