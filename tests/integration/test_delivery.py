"""The example's images on every way out of the store, into the real programs at the other end."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.platforms import host_platform
from tests.support.cli import Cli
from tests.support.daemons import containerd, docker_daemon, shell
from tests.support.tools import need, need_root

from .conftest import ENVIRONMENTS, EXAMPLE, ROOT, Layout, reference

pytestmark = pytest.mark.integration

LOOK = ["python", "-c", "import ssl, sys; print(sys.prefix)"]


@dataclass(frozen=True)
class Archives:
    """The images as files: one image, and all."""

    one: Path
    every: Path
    oci: Path


def config_of(layout: Layout, environment: str) -> str:
    manifest = layout.path / "blobs" / "sha256" / layout.digests[environment].removeprefix("sha256:")
    return str(json.loads(manifest.read_bytes())["config"]["digest"])


@pytest.fixture(scope="module")
def archives(cli: Cli, layout: Layout, home: Path) -> Archives:
    made = Archives(home / "one.tar", home / "every.tar", home / "oci.tar")
    cli.ok("build", EXAMPLE, "-e", "msa_env", "--output", f"docker-archive:{made.one}")
    cli.ok("build", EXAMPLE, "--output", f"docker-archive:{made.every}")
    cli.ok("build", EXAMPLE, "-e", "msa_env", "--output", f"oci-archive:{made.oci}")
    return made


@pytest.fixture(scope="module")
def docker(home: Path) -> Iterator[str]:
    """A Docker daemon's address."""
    with docker_daemon(home / "docker-delivery") as address:
        yield address


@pytest.fixture(scope="module")
def storage(home: Path) -> Iterator[Path]:
    """The configuration of a container storage of the test's own."""
    need_root("a container storage in a folder of one's own")
    folder = home / "delivery-storage"
    folder.mkdir()
    driver = "vfs" if shell("stat", "-f", "-c", "%T", home).strip() == "overlayfs" else "overlay"
    conf = folder / "storage.conf"
    conf.write_text(f'[storage]\ndriver = "{driver}"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n')
    yield conf
    for line in Path("/proc/self/mountinfo").read_text().splitlines()[::-1]:
        if (where := line.split()[4]).startswith(f"{folder}/"):
            shell("umount", where)


def podman_images(podman: list[str]) -> dict[str, dict[str, Any]]:
    """What podman has, by the configuration's digest."""
    found = json.loads(shell(*podman, "images", "--format", "json", "--no-trunc"))
    return {f"sha256:{i['Id'].removeprefix('sha256:')}": i for i in found}


def test_docker_loads_the_archive(archives: Archives, layout: Layout, docker: str) -> None:
    client = [need("docker", "docker.io"), "--host", docker]
    said = shell(*client, "load", "-i", archives.every)
    names = re.findall(r"Loaded image: (\S+)", said)
    assert [n.partition(":")[0] for n in names] == [f"flyte-build/{e}" for e in sorted(ENVIRONMENTS)]
    for environment, name in zip(sorted(ENVIRONMENTS), names, strict=True):
        assert shell(*client, "image", "inspect", "-f", "{{.Id}}", name).strip() == config_of(layout, environment)
    assert shell(*client, "run", "--rm", "--network", "none", names[0], *LOOK).strip() == "/opt/venv"
    shell(*client, "rmi", *names)


def test_docker_gets_images_through_its_socket(cli: Cli, layout: Layout, docker: str) -> None:
    client = [need("docker", "docker.io"), "--host", docker]
    mine = Cli(cli.home, variables={"DOCKER_HOST": docker})
    first = mine.ok("build", EXAMPLE, "-e", "fold_env", "--load", "docker", "--json").json()["loaded"]
    every = mine.ok("build", EXAMPLE, "--load", "docker", "--json").json()["loaded"]
    again = mine.ok("build", EXAMPLE, "--load", "docker", "--json").json()["loaded"]
    assert {i["environment"]: i["id"] for i in every} == {e: config_of(layout, e) for e in ENVIRONMENTS}
    assert [i["environment"] for i in first] == ["fold_env"]
    listed = shell(*client, "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
    assert (
        sorted(listed)
        == sorted(f"{i['name']} {i['id']}" for i in every)
        == sorted(f"{i['name']} {i['id']}" for i in again)
    )
    name = next(i["name"] for i in every if i["environment"] == "multi_env")
    assert shell(*client, "run", "--rm", "--network", "none", name, *LOOK).strip() == "/opt/venv"


def test_podman_loads_the_archives(
    archives: Archives, layout: Layout, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(storage))
    podman = [need("podman")]
    shell(*podman, "load", "-i", archives.one)
    (one,) = podman_images(podman).values()
    assert one["Digest"] == layout.digests["msa_env"], "of an archive with one image podman keeps the manifest"
    shell(*podman, "load", "-i", archives.every)
    assert set(podman_images(podman)) == {config_of(layout, e) for e in ENVIRONMENTS}
    shell(*podman, "rmi", "--all", "--force")


def test_podman_gets_images_from_the_store(cli: Cli, layout: Layout, storage: Path) -> None:
    variables = {"CONTAINERS_STORAGE_CONF": str(storage)}
    mine = Cli(cli.home, variables=variables)
    every = mine.ok("build", EXAMPLE, "--load", "podman", "--json").json()["loaded"]
    mine.ok("build", EXAMPLE, "--load", "podman")
    podman = [need("env"), f"CONTAINERS_STORAGE_CONF={storage}", need("podman")]
    found = podman_images(podman)
    assert {i: one["Digest"] for i, one in found.items()} == {
        config_of(layout, e): d for e, d in layout.digests.items()
    }
    names = {i["id"]: [f"localhost/{i['name']}"] for i in every}
    assert {i: one["Names"] for i, one in found.items()} == names
    assert not list((cli.cache / "tmp").glob("session-*"))
    shell(*podman, "rmi", "--all", "--force")


def test_skopeo_reads_the_archives(archives: Archives, layout: Layout, tmp_path: Path) -> None:
    skopeo = need("skopeo")
    for transport, path in (("oci-archive", archives.oci), ("oci-archive", archives.one)):
        said = json.loads(shell(skopeo, "inspect", f"{transport}:{path}"))
        assert said["Digest"] == layout.digests["msa_env"]
    config = shell(skopeo, "inspect", "--config", "--raw", f"docker-archive:{archives.one}")
    blob = layout.path / "blobs" / "sha256" / config_of(layout, "msa_env").removeprefix("sha256:")
    assert config == blob.read_text()
    name = next(t for t in _tags(archives.every) if t.startswith("flyte-build/multi_env:"))
    shell(skopeo, "copy", "-q", f"docker-archive:{archives.every}:{name}", f"dir:{tmp_path / 'out'}")


def _tags(path: Path) -> list[str]:
    rows = json.loads(shell(need("tar"), "-xOf", path, "manifest.json"))
    return [tag for row in rows for tag in row["RepoTags"]]


def test_containerd_imports_the_archive_with_its_digests(archives: Archives, layout: Layout, home: Path) -> None:
    with containerd(home / "containerd-delivery") as ctr:
        shell(*ctr, "images", "import", "--no-unpack", archives.every)
        listed = [line.split() for line in shell(*ctr, "images", "ls").splitlines()[1:]]
        found = {re.sub(r"^.*/|:.*$", "", words[0]): words[2] for words in listed}
        assert found == layout.digests


@pytest.mark.parametrize("images", [True, False])
def test_a_site_without_network_builds_from_a_bundle(
    cli: Cli, layout: Layout, home: Path, tmp_path: Path, images: bool
) -> None:
    """Another store, another checkout, and no network at all: not even a loopback."""
    need_root("a network namespace of one's own")
    shutil.copytree(ROOT / "lockfiles", tmp_path / "here")
    cli.ok("build", EXAMPLE, "--lockfiles", tmp_path / "here")
    bundle = home / f"af2-{images}.fbundle"
    left_out = [] if images else ["--no-images"]
    cli.ok("bundle", EXAMPLE, "--lockfiles", tmp_path / "here", "-o", bundle, *left_out)
    shutil.copytree(EXAMPLE.parent, tmp_path / "there" / "af2", ignore=shutil.ignore_patterns("lockfiles", ".*"))
    alone = Cli(tmp_path / "home", wrapper=[need("unshare"), "--net"])
    try:
        locks = tmp_path / "there" / "lockfiles"
        done = alone.ok("unbundle", bundle, "--lockfiles", locks, "--json", *(["--verify"] if images else [])).json()
        assert done["ready"] == (sorted(ENVIRONMENTS) if images else [])
        assert done["verified"] is images
        built = alone.ok("build", tmp_path / "there" / "af2" / "main.py", "--lockfiles", locks, "--locked", "--json")
        found = built.json()["images"]
        assert {i["environment"]: i["digest"] for i in found} == layout.digests
        assert [i["reused"] for i in found] == [images] * len(ENVIRONMENTS)
        assert [i["platform"] for i in found] == [host_platform()] * len(ENVIRONMENTS)
        alone.ok("store", "verify")
    finally:
        shutil.rmtree(tmp_path / "home", ignore_errors=True)
        bundle.unlink(missing_ok=True)


def test_the_archives_are_the_same_again(archives: Archives, cli: Cli, layout: Layout, tmp_path: Path) -> None:
    again = tmp_path / "again.tar"
    cli.ok("build", EXAMPLE, "--output", f"docker-archive:{again}")
    assert shell("cmp", again, archives.every) == ""
    assert os.stat(again).st_size == os.stat(archives.every).st_size
    assert reference("msa_env") in shell(need("tar"), "-xOf", again, "index.json")
