"""The images as others see them: skopeo, a registry, umoci, podman, buildah, Docker, containerd, GNU tar and gzip."""

from __future__ import annotations

import json
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_build.kernel.platforms import host_platform
from flyte_build.locks.lockfile import read
from tests.support.daemons import containerd, docker_daemon, registry, shell
from tests.support.tools import need, need_root

from .conftest import ENVIRONMENTS, LOCKFILES, Layout, reference, rootless

pytestmark = pytest.mark.integration

# What every engine has to see in an image that holds pytest.
LOOK = "python -c 'import pytest; print(pytest.__version__)'; id -un; pwd; echo ~; stat -c %a /tmp; which python"


def expected(environment: str) -> list[str]:
    lock = read(LOCKFILES, environment)
    assert lock is not None
    (version,) = [w.version for w in lock.platforms[host_platform()].wheels if w.name == "pytest"]
    return [version, "flyte", "/home/flyte", "/home/flyte", "1777", "/opt/venv/bin/python"]


def blobs(layout: Path) -> set[str]:
    return {p.name for p in (layout / "blobs" / "sha256").iterdir()}


def manifest(layout: Layout, environment: str) -> dict[str, object]:
    digest = layout.digests[environment].removeprefix("sha256:")
    document: dict[str, object] = json.loads((layout.path / "blobs" / "sha256" / digest).read_bytes())
    return document


def layers(layout: Layout, environment: str) -> list[Path]:
    described = manifest(layout, environment)["layers"]
    assert isinstance(described, list)
    return [layout.path / "blobs" / "sha256" / one["digest"].removeprefix("sha256:") for one in described]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_skopeo_inspects(layout: Layout, environment: str) -> None:
    said = json.loads(shell(need("skopeo"), "inspect", layout.image(environment)))
    system, _, machine = host_platform().partition("/")
    assert said["Digest"] == layout.digests[environment]
    assert said["Layers"] == [f"sha256:{p.name}" for p in layers(layout, environment)]
    assert (said["Os"], said["Architecture"], said["Created"]) == (system, machine, "1980-01-01T00:00:00Z")
    assert "VIRTUAL_ENV=/opt/venv" in said["Env"]


def test_skopeo_copies_to_a_layout_and_a_registry_and_back(layout: Layout, tmp_path: Path) -> None:
    skopeo = need("skopeo")
    there, back = tmp_path / "there", tmp_path / "back"
    with registry(tmp_path / "registry") as address:
        for environment in ENVIRONMENTS:
            name = f"docker://{address}/examples/{environment}:one"
            shell(skopeo, "copy", "-q", layout.image(environment), f"oci:{there}:{reference(environment)}")
            shell(skopeo, "copy", "-q", "--dest-tls-verify=false", layout.image(environment), name)
            said = json.loads(shell(skopeo, "inspect", "--tls-verify=false", name))
            assert said["Digest"] == layout.digests[environment]
            pinned = f"{name.removesuffix(':one')}@{layout.digests[environment]}"
            shell(skopeo, "copy", "-q", "--src-tls-verify=false", pinned, f"oci:{back}:{reference(environment)}")
    # Not one byte is another: nobody had to compress or to convert anything.
    assert blobs(there) == blobs(back) == blobs(layout.path)


def test_gnu_tar_and_gzip_read_every_layer(layout: Layout) -> None:
    every = {path for environment in ENVIRONMENTS for path in layers(layout, environment)}
    assert len(every) >= 5
    for path in sorted(every):
        shell(need("gzip"), "--test", path)
        with tarfile.open(path) as tar:
            names = [m.name for m in tar]
        listed = shell(need("tar"), "--quoting-style=literal", "-tzf", path).splitlines()
        assert [line.rstrip("/") for line in listed] == names


def test_umoci_unpacks_what_the_layers_hold(layout: Layout, rootfs: Path) -> None:
    """Every path, kind, mode, link, size, owner: as the layers say, one over the other, and nothing more."""
    merged: dict[str, tarfile.TarInfo] = {}
    for path in layers(layout, "multi_env"):
        with tarfile.open(path) as tar:
            merged |= {m.name.removeprefix("./").rstrip("/"): m for m in tar}
    found = {os.path.relpath(Path(folder, n), rootfs) for folder, dirs, files in os.walk(rootfs) for n in dirs + files}
    assert found == {name for name in merged if name not in ("", ".")}
    for name in found:
        member, status = merged[name], (rootfs / name).lstat()
        if member.issym():
            assert os.readlink(rootfs / name) == member.linkname, name
            continue
        assert (stat.S_ISDIR(status.st_mode), stat.S_ISREG(status.st_mode)) == (
            member.isdir(),
            member.isreg() or member.islnk(),
        ), name
        assert stat.S_IMODE(status.st_mode) == member.mode, name
        assert not member.isreg() or status.st_size == member.size, name
        if member.islnk():
            assert os.path.samefile(rootfs / name, rootfs / member.linkname), name
        if not rootless():
            assert (status.st_uid, status.st_gid) == (member.uid, member.gid), name


def test_umoci_makes_a_runtime_bundle(layout: Layout, tmp_path: Path) -> None:
    image = f"{layout.path}:{reference('msa_env')}"
    shell(need("umoci"), "unpack", *rootless(), "--image", image, tmp_path / "bundle")
    process = json.loads((tmp_path / "bundle" / "config.json").read_text())["process"]
    assert process["cwd"] == "/home/flyte"
    assert process["args"] == ["python"]
    assert process["env"][0].startswith("PATH=/opt/venv/bin:")
    if not rootless():
        assert (process["user"]["uid"], process["user"]["gid"]) == (1000, 1000)


@pytest.fixture(scope="module")
def containers(home: Path) -> Iterator[list[str]]:
    """Options of podman and buildah for a storage of the test's own."""
    need_root("a container storage in a folder of one's own")
    folder = home / "containers"
    # Overlays cannot lie on overlays, which is what a container has; vfs copies every layer, but works anywhere.
    stacked = shell("stat", "-f", "-c", "%T", home).strip() == "overlayfs"
    driver = "vfs" if stacked else "overlay"
    yield ["--root", str(folder / "storage"), "--runroot", str(folder / "run"), "--storage-driver", driver]
    # The storage is mounted on itself for as long as the machine runs.
    for line in Path("/proc/self/mountinfo").read_text().splitlines()[::-1]:
        if (where := line.split()[4]).startswith(f"{folder}/"):
            shell("umount", where)


def test_podman_runs(layout: Layout, containers: list[str]) -> None:
    podman = [need("podman"), *containers, "--cgroup-manager", "cgroupfs", "--runtime", need("runc")]
    # podman's own defaults are more files and processes than some machines allow.
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
    for environment in ("msa_env", "multi_env"):
        shell(*podman, "pull", "-q", layout.image(environment))
        config = manifest(layout, environment)["config"]
        assert isinstance(config, dict)
        image = config["digest"].removeprefix("sha256:")
        assert shell(*podman, "image", "inspect", "--format", "{{.Id}}", image).strip() == image
        said = shell(*podman, "run", "--rm", "--network", "none", *limits, image, "sh", "-c", LOOK)
        assert said.splitlines() == expected(environment)
        shell(*podman, "rmi", image)


def test_buildah_runs(layout: Layout, containers: list[str]) -> None:
    buildah = [need("buildah"), *containers]
    name = shell(*buildah, "from", layout.image("multi_env")).splitlines()[-1]
    said = shell(*buildah, "run", "--isolation", "chroot", name, "--", "sh", "-c", LOOK)
    assert said.splitlines() == expected("multi_env")
    shell(*buildah, "rm", name)


def test_docker_loads_and_runs(layout: Layout, home: Path) -> None:
    with docker_daemon(home / "docker") as address:
        docker = [need("docker", "docker.io"), "--host", address]
        for environment in ("msa_env", "multi_env"):
            target = f"docker-daemon:{environment}:test"
            shell(need("skopeo"), "copy", "-q", "--dest-daemon-host", address, layout.image(environment), target)
            run = [*docker, "run", "--rm", "--network", "none", f"{environment}:test"]
            assert shell(*run, "sh", "-c", LOOK).splitlines() == expected(environment)
        assert shell(*run, "ruff", "--version").startswith("ruff ")
        # The image's own command is Python, and an empty environment changes nothing that matters.
        code = "import pytest, ssl, sys; print(sys.prefix)"
        assert shell(*run, "env", "-i", "/opt/venv/bin/python", "-c", code).strip() == "/opt/venv"
        inspected = json.loads(shell(*docker, "image", "inspect", "multi_env:test"))[0]
        assert len(inspected["RootFS"]["Layers"]) == len(layers(layout, "multi_env"))
        shell(*docker, "image", "rm", "-f", "msa_env:test", "multi_env:test")


def test_containerd_imports_and_runs(layout: Layout, home: Path, tmp_path: Path) -> None:
    archive = tmp_path / "layout.tar"
    shell(need("tar"), "-C", layout.path, "-cf", archive, ".")
    with containerd(home / "containerd") as ctr:
        shell(*ctr, "images", "import", "--base-name", "registry.example/af2", archive)
        listed = {row.split()[0]: row.split()[2] for row in shell(*ctr, "images", "ls").splitlines()[1:]}
        assert listed == {f"registry.example/af2:{reference(e)}": layout.digests[e] for e in ENVIRONMENTS}
        for environment in ("msa_env", "multi_env"):
            image = f"registry.example/af2:{reference(environment)}"
            said = shell(*ctr, "run", "--rm", image, f"look-{environment}", "sh", "-c", LOOK)
            assert said.splitlines() == expected(environment)


def test_nothing_of_the_daemons_is_left(home: Path) -> None:
    """No process and no mount of theirs outlives the tests above (but podman's own storage: see above)."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert [m for m in mounts if m.startswith(f"{home}/") and not m.startswith(f"{home}/containers/storage/")] == []
    seen = shell(need("ps", "procps"), "-eo", "args")
    for name in ("docker", "containerd", "containers", "registry"):
        assert f"{home}/{name}/" not in seen
