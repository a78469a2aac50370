"""Debian's own packages, assembled and then used: the base of both suites runs without one script having run."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble.deb import read_control
from flyte_build.assemble.debian import debian_entries, read
from flyte_build.assemble.scripts import unhandled_scripts
from flyte_build.assemble.system import system_entries
from tests.assemble.test_debian import spec_of
from tests.support.tools import lacking, need

pytestmark = pytest.mark.integration

BASE = ["base-files", "base-passwd", "bash", "ca-certificates", "coreutils", "dash", "findutils", "grep", "gzip"]
BASE += ["libc-bin", "libgcc-s1", "libstdc++6", "netbase", "sed", "tar", "tzdata"]
USER = {"name": "flyte", "uid": 1000, "gid": 1000, "home": "/home/flyte"}
TYPES = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE}


@dataclass(frozen=True)
class Image:
    """A root file system made of a suite's packages."""

    root: Path
    python: str
    debs: tuple[Path, ...]

    def run(self, *command: str, user: bool = False) -> str:
        """What ``command`` prints, in a sandbox with an empty environment and no network."""
        who = ["--uid", "1000", "--gid", "1000"] if user else []
        sandbox = [need("bwrap", "bubblewrap"), "--unshare-all", "--clearenv", *who, "--ro-bind", str(self.root), "/"]
        sandbox += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        done = subprocess.run([*sandbox, *command], check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def download(where: Path, suite: str, packages: list[str]) -> list[Path]:
    """The packages with their closure, from the mirror this machine's apt uses, without touching its state."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (where / folder).mkdir(parents=True)
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"], check=True, capture_output=True, text=True, timeout=60
    )
    uris = sorted(set(listed.stdout.split()))
    rows = []
    for uri in uris:
        name = f"{suite}-security" if "security" in uri else suite
        rows.append(f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {uri} {name} main\n")
    if len(rows) < 2:
        lacking("apt has no sources for Debian and its security updates")
    (where / "sources.list").write_text("".join(rows))
    (where / "status").touch()
    options = {
        "Dir::State": where / "state",
        "Dir::State::status": where / "status",
        "Dir::Cache": where / "cache",
        "Dir::Etc::sourcelist": where / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Sandbox::User": "",
        "APT::Update::Post-Invoke": "",
        "APT::Update::Post-Invoke-Success": "",
        "APT::Keep-Downloaded-Packages": "true",
    }
    apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
    for command in (["update"], ["install", "-y", "--download-only", "--no-install-recommends", *packages]):
        subprocess.run([*apt, *command], check=True, capture_output=True, text=True, timeout=500)
    return sorted((where / "cache/archives").glob("*.deb"))


@pytest.fixture(scope="module", params=[("bookworm", "3.11"), ("trixie", "3.13")], ids=["bookworm", "trixie"])
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Image:
    suite, python = request.param
    where = tmp_path_factory.mktemp(suite)
    debs = download(where, suite, [*BASE, f"python{python}", f"libpython{python}-stdlib"])
    spec, paths = spec_of(debs)
    spec |= {"suite": suite, "python": python, "venv": "/opt/venv", "user": USER}
    merged = {}
    for layer in (debian_entries, system_entries):
        merged.update({entry.path: entry for entry in layer(spec, paths.__getitem__, where)})
    root = where / "root"
    archive = where / "root.tar"
    with tarfile.open(archive, "w") as out:
        for _, entry in sorted(merged.items(), key=lambda item: (item[1].kind == "hardlink", item[0])):
            info = tarfile.TarInfo(entry.path)
            info.type, info.mode, info.uid, info.gid = TYPES[entry.kind], entry.mode, entry.uid, entry.gid
            info.linkname, info.size = entry.link, entry.size
            out.addfile(info, io.BytesIO(read(entry.content)))
    with tarfile.open(archive) as tar:
        # Owners, setuid bits and all: what releases of Python without filters do anyway.
        trusting: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
        tar.extractall(root, numeric_owner=True, **trusting)
    return Image(root, python, tuple(debs))


def test_python_trusts_the_usual_authorities(image: Image) -> None:
    code = "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"
    assert int(image.run(f"/usr/bin/python{image.python}", "-c", code)) > 100


def test_python_finds_libraries(image: Image) -> None:
    code = "from ctypes.util import find_library as f; print(f('ssl'), f('c'), f('stdc++'), f('nope'))"
    found = image.run(f"/usr/bin/python{image.python}", "-c", code)
    assert found == "libssl.so.3 libc.so.6 libstdc++.so.6 None"


def test_every_module_of_the_standard_library_loads(image: Image) -> None:
    names = "bz2, ctypes, curses, decimal, hashlib, lzma, multiprocessing, readline, sqlite3, ssl, uuid, zlib, zoneinfo"
    code = f"import {names}; print(zoneinfo.ZoneInfo('Europe/Paris').key, *__import__('time').tzname)"
    assert image.run(f"/usr/bin/python{image.python}", "-c", code) == "Europe/Paris UTC UTC"


def test_the_virtual_environment_is_one(image: Image) -> None:
    code = "import sys, site; print(sys.prefix, sys.base_prefix, *site.getsitepackages())"
    expected = f"/opt/venv /usr /opt/venv/lib/python{image.python}/site-packages"
    for name in ("python", "python3", f"python{image.python}"):
        assert image.run(f"/opt/venv/bin/{name}", "-c", code).startswith(expected)


def test_shell_and_users(image: Image) -> None:
    assert image.run("/bin/sh", "-c", "PATH=/bin; id flyte; ls -d /home; awk 'BEGIN { print 6 * 7 }'").splitlines() == [
        "uid=1000(flyte) gid=1000(flyte) groups=1000(flyte)",
        "/home",
        "42",
    ]
    assert image.run("/usr/bin/id", "-un", user=True) == "flyte"
    assert image.run("/bin/bash", "-c", "echo ~flyte; echo ok > /tmp/x; cat /tmp/x") == "/home/flyte\nok"
    assert "localhost" in image.run("/usr/bin/getent", "hosts", "localhost")


def test_dpkg_knows_every_package(image: Image) -> None:
    command = ["dpkg-query", f"--admindir={image.root}/var/lib/dpkg", "-W", "-f", "${Package} ${db:Status-Abbrev}\n"]
    rows = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    assert rows == sorted(f"{read_control(deb).name} ii " for deb in image.debs)


def test_no_script_of_the_base_is_missed(image: Image) -> None:
    assert unhandled_scripts(read_control(deb) for deb in image.debs) == []


def test_ldconfig_would_change_nothing(image: Image) -> None:
    ldconfig = shutil.which("ldconfig", path="/usr/sbin:/sbin")
    assert ldconfig, "ldconfig is needed"
    before = {p: os.readlink(p) for p in image.root.rglob("*.so*") if p.is_symlink()}

    def libraries(cache: str) -> list[str]:
        done = subprocess.run([ldconfig, "-p", "-C", cache], check=True, capture_output=True, text=True, timeout=60)
        return [line for line in done.stdout.splitlines() if "=>" in line]

    ours = libraries(f"{image.root}/etc/ld.so.cache")
    subprocess.run([ldconfig, "-r", str(image.root), "-C", "/theirs"], check=True, capture_output=True, timeout=60)
    assert ours == libraries(f"{image.root}/theirs")
    assert before == {p: os.readlink(p) for p in image.root.rglob("*.so*") if p.is_symlink()}
