"""The base of a built image is a working Debian, and the assembler alone makes the same bytes on other Pythons."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import flyte_build.assemble
from flyte_build.kernel.platforms import host_platform
from flyte_build.locks.lockfile import read
from flyte_build.store import Store
from flyte_build.store import layout as oci
from tests.support.cli import Cli
from tests.support.daemons import shell
from tests.support.tools import need

from .conftest import LOCKFILES, Layout, reference, rootless

pytestmark = pytest.mark.integration

ASSEMBLE = Path(flyte_build.assemble.__file__).parent


def inside(root: Path, *command: str, binds: tuple[str, ...] = ()) -> str:
    """What ``command`` prints in the image, as its user, with an empty environment and no network."""
    sandbox = [need("bwrap", "bubblewrap"), "--unshare-all", "--clearenv", "--uid", "1000", "--gid", "1000"]
    sandbox += ["--ro-bind", str(root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", *binds]
    return shell(*sandbox, *command).strip()


@pytest.mark.parametrize("python", ["/usr/bin/python3.11", "/opt/venv/bin/python"])
def test_python_works_in_an_empty_environment(rootfs: Path, python: str) -> None:
    code = "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"
    assert int(inside(rootfs, python, "-c", code)) > 100
    code = "from ctypes.util import find_library as f; print(f('ssl'), f('c'), f('z'), f('nothing'))"
    assert inside(rootfs, python, "-c", code) == "libssl.so.3 libc.so.6 libz.so.1 None"
    code = "import os, pwd, tempfile; print(pwd.getpwuid(os.getuid()).pw_dir, tempfile.gettempdir())"
    assert inside(rootfs, python, "-c", code) == "/home/flyte /tmp"


def test_the_shell_and_the_usual_programs(rootfs: Path) -> None:
    script = "PATH=/usr/bin:/bin; id -un; id -gn; ls -d /home/flyte /usr/bin/env; echo x | grep -c x; test -x /bin/sh"
    assert inside(rootfs, "/bin/sh", "-c", script).splitlines() == [
        "flyte",
        "flyte",
        "/home/flyte",
        "/usr/bin/env",
        "1",
    ]
    assert inside(rootfs, "/bin/bash", "-c", "echo ~flyte ~root") == "/home/flyte /root"
    names = [line.split(":")[0] for line in (rootfs / "etc/passwd").read_text().splitlines()]
    assert {"root", "daemon", "nobody", "flyte"} <= set(names)
    assert len(names) == len(set(names))


def test_folders_that_many_write_to(rootfs: Path) -> None:
    for path, mode in (("tmp", 0o1777), ("var/tmp", 0o1777), ("home/flyte", 0o755), ("etc/passwd", 0o644)):
        assert stat.S_IMODE((rootfs / path).stat().st_mode) == mode, path
    if not rootless():
        assert (rootfs / "home/flyte").stat().st_uid == 1000


def test_scanners_find_every_locked_package(rootfs: Path) -> None:
    lock = read(LOCKFILES, "multi_env")
    assert lock is not None
    form = "${Package}\t${Version}\t${Architecture}\t${db:Status-Abbrev}\n"
    rows = shell(need("dpkg-query", "dpkg"), f"--admindir={rootfs}/var/lib/dpkg", "-W", "-f", form).splitlines()
    debs = lock.platforms[host_platform()].debs
    assert sorted(rows) == sorted(f"{d.name}\t{d.version}\t{d.architecture}\tii " for d in debs)
    listed = shell(need("dpkg-query", "dpkg"), f"--admindir={rootfs}/var/lib/dpkg", "-L", "bash").splitlines()
    assert "/bin/bash" in listed
    release = dict(line.split("=", 1) for line in (rootfs / "etc/os-release").read_text().splitlines() if "=" in line)
    assert release["VERSION_CODENAME"] == "bookworm"


# -- the assembler on its own -------------------------------------------------------------------------


def plans(cli: Cli, folder: Path) -> dict[str, Path]:
    """Environment → its derivation's specification, from the store, as a file."""
    store = Store(cli.cache)
    found = {}
    for entry in oci.manifests(store.index()):
        name, derivation = oci.annotation(entry, oci.REF_NAME), oci.annotation(entry, oci.DERIVATION)
        stored = store.derivation(derivation) if derivation else None
        assert stored is not None, name
        path = folder / f"{stored['environment']}.json"
        path.write_text(json.dumps(stored["spec"]))
        found[str(stored["environment"])] = path
    return found


def test_the_assembler_alone_makes_the_same_image(layout: Layout, cli: Cli, tmp_path: Path) -> None:
    """From the store's derivation and artifacts, with nothing but the standard library of this Python."""
    plan = plans(cli, tmp_path)["multi_env"]
    command = [sys.executable, "-I", "-S", str(ASSEMBLE), str(plan), str(tmp_path / "out")]
    command += ["--artifacts", str(Store(cli.cache).artifacts), "--ref", reference("multi_env")]
    done = subprocess.run(command, env={}, cwd="/", capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, layout.digests["multi_env"]), done.stderr
    (said,) = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"]
    assert said["digest"] == layout.digests["multi_env"]
    theirs = {p.name: p.read_bytes() for p in (tmp_path / "out/blobs/sha256").iterdir()}
    assert theirs == {name: (layout.path / "blobs/sha256" / name).read_bytes() for name in theirs}


@pytest.fixture(scope="module")
def thirteen(cli: Cli, layout: Layout, home: Path) -> Path:
    """The tree of an image of Python 3.13 on trixie, locked, built and run here."""
    folder = home / "thirteen"
    folder.mkdir()
    (folder / "thirteen.py").write_text(
        "import platform, ssl\n"
        "import flyte\n"
        "env = flyte.TaskEnvironment('thirteen', image=flyte.Image.from_debian_base(python_version=(3, 13)))\n"
        "@env.task\n"
        "def where() -> list[str]:\n"
        "    authorities = len(ssl.create_default_context().get_ca_certs())\n"
        "    codename = platform.freedesktop_os_release()['VERSION_CODENAME']\n"
        "    return [platform.python_version()[:4], codename, 'many' if authorities > 100 else str(authorities)]\n"
    )
    done = cli.ok("run", "--json", "--lockfiles", folder / "lockfiles", folder / "thirteen.py", "where")
    assert done.json()["outputs"] == {"o0": ["3.13", "trixie", "many"]}
    root = home / "trixie"
    shell(need("umoci"), "raw", "unpack", *rootless(), "--image", f"{cli.cache}/oci:{reference('thirteen')}", root)
    return root


def test_another_python_makes_the_same_image(layout: Layout, cli: Cli, thirteen: Path, tmp_path: Path) -> None:
    """Python 3.13 of an image we made ourselves, in a sandbox that has nothing but it, the plan and the artifacts."""
    assert inside(thirteen, "/usr/bin/python3.13", "-c", "import sys; print(sys.version_info[:2])") == "(3, 13)"
    plan = plans(cli, tmp_path)["multi_env"]
    binds = ("--ro-bind", str(ASSEMBLE), "/mnt", "--ro-bind", str(Store(cli.cache).artifacts), "/media")
    command = ["/usr/bin/python3.13", "-I", "-S", "/mnt", f"/srv/{plan.name}", "/tmp/out", "--artifacts", "/media"]
    digest = inside(thirteen, *command, binds=(*binds, "--ro-bind", str(tmp_path), "/srv"))
    assert digest == layout.digests["multi_env"]
