"""Nix makes the images that flyte-build makes, to the byte: sandboxed, without a network, from a store that was filled.

The Nix of the machine always takes part. Debian's others, with root, a user and a daemon, are machines of their own and
take minutes: those that FLYTE_BUILD_TEST_NIX names do (``bookworm trixie sid``).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.deriving.derivation import Artifact
from flyte_build.exporting.nixstore import artifacts_of, store_path
from flyte_build.kernel.platforms import host_platform
from flyte_build.kernel.reporting import Silent
from flyte_build.locks.lockfile import read, write
from flyte_build.locks.nouns import LockedWheel, Pin
from flyte_build.sources.fetching import fetch
from flyte_build.sources.locators import WheelLocator
from flyte_build.store import Store
from flyte_build.toolchain import builder
from tests.support.cli import Cli
from tests.support.daemons import shell
from tests.support.machine import Machine, bare_machine
from tests.support.nix import CONFIGURATION, Nix, clean_clone, commit, image_digest
from tests.support.tools import need

from .conftest import ENVIRONMENTS, LOCKFILES, ROOT, Layout

pytestmark = pytest.mark.integration

SEED = ROOT / "rules" / "nix" / "seed"
OTHERS = os.environ.get("FLYTE_BUILD_TEST_NIX", "").split()
PROJECT = """
from pathlib import Path

import flyte

HERE = Path(__file__).parent
image = (
    flyte.Image.from_debian_base(install_flyte=False)
    .with_pip_packages("iniconfig")
    .with_workdir("/srv/app")
    .with_env_vars({"FOUND": "$PATH:/srv/app/bin"})
    .with_source_folder(HERE / "data", "./data")
    .with_source_file(HERE / "main.py", "/opt/app/")
)
env = flyte.TaskEnvironment(name="copying", image=image)
"""


@pytest.mark.usefixtures("filled")
def test_the_images_of_a_clean_clone(nix: Nix, flake: Path, layout: Layout) -> None:
    for environment in ENVIRONMENTS:
        started = time.monotonic()
        said = nix.ok("build", "-L", f".#{environment}", "--out-link", f"result-{environment}", cwd=flake)
        print(f"{environment}: {time.monotonic() - started:.1f} s")
        assert "download" not in said
        assert image_digest(nix.real(flake / f"result-{environment}")) == layout.digests[environment]
    started = time.monotonic()
    assert "building" not in nix.ok("build", ".#msa_env", cwd=flake)
    print(f"nothing to do: {time.monotonic() - started:.2f} s")


@pytest.mark.usefixtures("filled")
def test_layers_are_shared_and_blobs_are_there_once(nix: Nix, flake: Path) -> None:
    nix.ok("build", ".#msa_env", ".#multi_env", cwd=flake)
    links = []
    for result in (flake / "result", flake / "result-1"):
        blobs = nix.real(result) / "blobs" / "sha256"
        links.append({p.name: os.readlink(p) for p in blobs.iterdir() if p.is_symlink()})
    shared = links[0].keys() & links[1].keys()
    assert len(shared) >= 3
    assert all(links[0][name] == links[1][name] for name in shared)


@pytest.mark.usefixtures("filled")
def test_what_a_lock_pins_is_checked(nix: Nix, home: Path, layout: Layout) -> None:
    """`nix flake check` passes with pins as they should be, and names the image where one is another."""
    folder = clean_clone(home / "pinned")
    for environment in ENVIRONMENTS:
        lock = read(folder / "lockfiles", environment)
        assert lock is not None
        write(folder / "lockfiles", replace(lock, pins={}))
    lock = read(folder / "lockfiles", "msa_env")
    assert lock is not None
    commit(folder)
    nix.ok("build", ".#msa_env", cwd=folder)
    (entry,) = json.loads((nix.real(folder / "result") / "index.json").read_text())["manifests"]
    pin = Pin(entry["annotations"]["build.flyte.derivation"], layout.digests["msa_env"])
    write(folder / "lockfiles", replace(lock, pins={host_platform(): pin}))
    commit(folder)
    nix.ok("flake", "check", cwd=folder)
    other = "sha256:" + "0" * 64
    write(folder / "lockfiles", replace(lock, pins={host_platform(): replace(pin, digest=other)}))
    commit(folder)
    done = nix.run("flake", "check", "-L", cwd=folder)
    assert done.returncode != 0
    assert f"expected the pinned {other}, found {pin.digest}" in done.stderr


def test_a_project_of_ones_own(nix: Nix, flake: Path, filled: Cli, tmp_path: Path) -> None:
    """From a file to an image: lock, export, prefetch, build; with local files that git and .dockerignore choose, and
    layers of bytecode, which there the image's own interpreter makes without any sandbox of ours."""
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    (data / "ü.txt").write_text("ü\n")
    (data / "sub" / "run").write_text("#!/bin/sh\n")
    (data / "sub" / "run").chmod(0o755)
    (data / "sub" / "link").symlink_to("../ü.txt")
    (data / "left out.log").write_text("no\n")
    (tmp_path / ".dockerignore").write_text("*.log\n")
    main = tmp_path / "main.py"
    main.write_text(PROJECT)
    (tmp_path / "pyproject.toml").write_text('[tool.flyte-build]\nbytecode = "layer"\n')
    shell("git", "-C", tmp_path, "init", "-q")
    filled.ok("lock", main)
    filled.ok("export", "nix", main, "--flake", f"git+file://{flake}")
    filled.ok("nix", "prefetch", main)
    commit(tmp_path)
    nix.ok("build", ".#copying", cwd=tmp_path)
    (built,) = filled.ok("build", main, "--json", "--no-check").json()["images"]
    assert image_digest(nix.real(tmp_path / "result")) == built["digest"]
    # The flake that is there is kept; one of the user's own is not written over.
    filled.ok("export", "nix", main, "--flake", f"git+file://{flake}")
    (tmp_path / "flake.nix").write_text("{ }")
    done = filled("export", "nix", main, "--flake", f"git+file://{flake}")
    assert done.code == 2
    assert "there is another flake" in done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as a user already")
@pytest.mark.usefixtures("filled")
def test_a_user_without_a_daemon(
    nix: Nix, flake: Path, layout: Layout, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("user")
    for above in (folder, *folder.parents[:2]):
        above.chmod(above.stat().st_mode | 0o055)
    shutil.copytree(flake, folder / "flake", symlinks=True, ignore=shutil.ignore_patterns("result", "result-*"))
    shell("chown", "-R", "65534:65534", folder)
    who = [need("setpriv", "util-linux"), "--reuid=65534", "--regid=65534", "--clear-groups"]
    mine = Nix(folder, wrapper=who, variables={"USER": "nobody"})
    closure = exported(nix, folder)
    with closure.open("rb") as f:
        command = [*who, need("nix-store", "nix-bin"), "--import"]
        subprocess.run(command, stdin=f, env=mine.environment, check=True, capture_output=True, timeout=300, cwd=folder)
    mine.ok("build", ".#msa_env", cwd=folder / "flake")
    assert image_digest(mine.real(folder / "flake" / "result")) == layout.digests["msa_env"]
    subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False, capture_output=True)


def exported(nix: Nix, folder: Path) -> Path:
    """All that msa_env is made of, as one file that any Nix imports."""
    lock = read(LOCKFILES, "msa_env")
    assert lock is not None
    paths = [store_path(a.file, a.sha256) for a in artifacts_of([builder(), lock], host_platform())]
    with (folder / "closure").open("wb") as f:
        command = [need("nix-store", "nix-bin"), "--export", *paths]
        subprocess.run(command, stdout=f, env=nix.environment, check=True, timeout=300)
    return folder / "closure"


def test_the_seeds_are_what_their_source_gives(tmp_path: Path) -> None:
    system = {"linux/amd64": "x86_64-linux", "linux/arm64": "aarch64-linux"}[host_platform()]
    row = json.loads((SEED / "zig.json").read_text())[system]
    wheel = LockedWheel(**row, step=0)
    artifact = Artifact(wheel.sha256, wheel.size, wheel.file, wheel)
    locator = WheelLocator.of([], ROOT)
    paths = fetch([artifact], Store(tmp_path / "cache"), locator=locator, reporter=Silent())
    shell(sys.executable, SEED / "build.py", paths[wheel.sha256], tmp_path / "out", timeout=500)
    for made in sorted((tmp_path / "out").iterdir()):
        assert made.read_bytes() == (SEED / made.name).read_bytes(), made.name
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.fixture(params=["bookworm", "trixie", "sid"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    if request.param not in OTHERS:
        pytest.skip(f"FLYTE_BUILD_TEST_NIX does not name {request.param}")
    # debootstrap takes the first of alternatives, and libdbd-sqlite3-perl wants what libdbi-perl provides.
    yield bare_machine(tmp_path / "root", ["ca-certificates", "git", "libdbi-perl", "nix-bin"], request.param)
    shutil.rmtree(tmp_path / "root", ignore_errors=True)


@pytest.mark.usefixtures("filled")
def test_other_nixes(machine: Machine, nix: Nix, flake: Path, layout: Layout) -> None:
    """Root alone, a user alone, and a user with a daemon; the same paths in all three."""
    shutil.move(exported(nix, machine.root / "var"), machine.root / "var" / "closure")
    checkout = machine.clone(flake, "dev")
    machine.run(f"cp -r {checkout} /root/flake; chown -R root: /root/flake")
    common = f"set -e; nix --version >&2; export NIX_CONFIG='{CONFIGURATION}'; "
    build = "nix-store --import < /var/closure > /dev/null; nix build .#msa_env; readlink result; "
    scripts = {
        "root": ("root", "/root/flake", build + "cat result/index.json"),
        "user": ("dev", checkout, build + "cat $HOME/store$(readlink result)/index.json"),
        "daemon": ("root", checkout, DAEMON),
    }
    paths, version = set(), ""
    for how, (user, cwd, script) in scripts.items():
        store = "export NIX_REMOTE=local?root=$HOME/store; " if how == "user" else "rm -rf /nix; "
        code, out, err = machine.run(f"{common}{store}{script}", user=user, cwd=cwd, timeout=600)
        assert code == 0, f"{how}: {err}"
        path, index = out.strip().split("\n")
        paths.add(path)
        assert json.loads(index)["manifests"][0]["digest"] == layout.digests["msa_env"], how
        version = version or err.partition("\n")[0]
    assert len(paths) == 1
    print(f"ran: {version}")


DAEMON = """
unset NIX_CONFIG
mkdir -p /etc/nix /nix
printf 'experimental-features = nix-command flakes\\nsandbox = true\\nsandbox-fallback = false\\nsubstituters =\\n' \
    > /etc/nix/nix.conf
groupadd -r nixbld
for i in 1 2; do useradd -r -g nixbld -G nixbld -d /var/empty -s /usr/sbin/nologin nixbld$i; done
nix-store --import < /var/closure > /dev/null
nix-daemon 2> /dev/null &
for i in $(seq 50); do [ -S /nix/var/nix/daemon-socket/socket ] && break; sleep 0.1; done
rm -f result
setpriv --reuid=dev --regid=dev --init-groups env HOME=/home/dev NIX_REMOTE=daemon nix build .#msa_env
readlink result
cat result/index.json
"""
