"""Bytes of the store that were changed behind our back, without a change of size: none is used, none gets out."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from ..support.offline import Offline
from ..support.registry import RegistryServer

ALPHA = "alpha-1.0-py3-none-any.whl"


def swap(path: Path) -> None:
    """Other bytes of the same size, and the date of before."""
    was = path.stat()
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    path.chmod(0o444)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


@pytest.fixture
def project(offline: Offline) -> Offline:
    """Locked, and built once."""
    offline.locked()
    offline.ok("build", "flow.py")
    return offline


def wheel(project: Offline, file: str = ALPHA) -> Path:
    lock = json.loads((project.lockfiles / "low.json").read_text())
    [found] = [w for w in lock["platforms"]["linux/amd64"]["wheels"] if w["file"] == file]
    return project.store / "artifacts" / "sha256" / str(found["sha256"])


def forget_images(project: Offline) -> None:
    """All that was made is gone; what was fetched stays."""
    for name in ("oci", "realisations", "listings", "plans"):
        shutil.rmtree(project.store / name, ignore_errors=True)


def largest_layer(project: Offline) -> Path:
    """The largest layer of the image for ``low``."""
    index = json.loads((project.store / "oci" / "index.json").read_text())
    blobs = project.store / "oci" / "blobs" / "sha256"
    [low] = [m for m in index["manifests"] if m["annotations"]["build.flyte.derivation"] and "low" in str(m)]
    manifest = json.loads((blobs / low["digest"][7:]).read_text())
    return Path(blobs / max(manifest["layers"], key=lambda layer: layer["size"])["digest"][7:])


@pytest.mark.parametrize("command", ["build", "push"])
def test_a_swapped_wheel_is_named_moved_aside_and_fetched_again(
    project: Offline, registry: RegistryServer, command: str
) -> None:
    more = ["--registry", f"{registry.host}/team"] if command == "push" else []
    before = project.ok("build", "flow.py", "--json").json()["images"]
    forget_images(project)
    good = wheel(project).read_bytes()
    swap(wheel(project))
    said = project.refused(6, command, "flow.py", "-q", *more)
    assert (
        f"error: {ALPHA}: the copy in the store is not what was locked: expected SHA-256 {wheel(project).name}" in said
    )
    assert "hint: run this again: it is fetched again" in said
    assert not wheel(project).exists()
    assert [p.name for p in (project.store / "corrupt").iterdir()] == [f"artifacts-sha256-{wheel(project).name}.1"]
    assert not any(registry.repository(name).manifests for name in ("team/low", "team/top"))
    done = project.ok(command, "flow.py", "--json", *more).json()
    assert [i["digest"] for i in done["images"]] == [i["digest"] for i in before]
    assert wheel(project).read_bytes() == good
    project.verified()


def test_what_an_sbom_says_is_read_from_locked_bytes_or_not_at_all(project: Offline, registry: RegistryServer) -> None:
    swap(wheel(project))
    more = ["--registry", f"{registry.host}/team"]
    assert ALPHA in project.refused(6, "push", "flow.py", "-q", *more)
    assert not any(registry.repository(name).manifests for name in ("team/low", "team/top")), "nothing is published"
    project.ok("push", "flow.py", *more)


@pytest.mark.parametrize(
    "command",
    ["push", "oci", "oci-archive", "docker-archive", "bundle"],
)
def test_a_flipped_layer_does_not_leave_the_store_and_the_same_command_mends_it(
    project: Offline, registry: RegistryServer, tmp_path: Path, command: str
) -> None:
    if command == "push":
        arguments = ["push", "flow.py", "--registry", f"{registry.host}/team"]
    elif command == "bundle":
        arguments = ["bundle", "flow.py", "--output", str(tmp_path / "out")]
    else:
        arguments = ["build", "flow.py", "--output", f"{command}:{tmp_path / 'out'}"]
    layer = largest_layer(project)
    good = layer.read_bytes()
    swap(layer)
    said = project.refused(9, *arguments)
    assert f"damaged: expected SHA-256 {layer.name}, found " in said
    assert "hint: run this again: what it was part of is made again" in said
    assert not (tmp_path / "out").exists()
    assert not any(repository.manifests for repository in registry.repositories.values())
    project.ok(*arguments)
    assert layer.read_bytes() == good
    project.verified()


def test_a_flipped_manifest_is_never_published_under_a_digest_of_its_own(
    project: Offline, registry: RegistryServer
) -> None:
    before = project.ok("build", "flow.py", "--json").json()["images"]
    for image in before:
        swap(project.store / "oci" / "blobs" / "sha256" / image["digest"][7:])
    pushed = project.ok("push", "flow.py", "--json", "--registry", f"{registry.host}/team").json()["pushed"]
    assert [p["digest"] for p in pushed] == [i["digest"] for i in before]
    project.verified()


def test_wheels_that_are_exported_are_those_of_the_lock(project: Offline, tmp_path: Path) -> None:
    target = ["--wheels", str(tmp_path / "wheels"), "--output", str(tmp_path / "requirements.txt")]
    arguments = ["export", "requirements", "flow.py", "--env", "low", *target]
    swap(wheel(project))
    assert ALPHA in project.refused(6, *arguments)
    project.ok(*arguments)


def test_what_an_archive_brings_replaces_what_was_swapped(project: Offline, tmp_path: Path) -> None:
    project.ok("bundle", "flow.py", "--output", str(tmp_path / "b"))
    good = wheel(project).read_bytes()
    swap(wheel(project))
    project.ok("unbundle", str(tmp_path / "b"))
    assert wheel(project).read_bytes() == good
    project.verified()
