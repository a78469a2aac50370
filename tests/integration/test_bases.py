"""An image that others made (debootstrap, buildah) in a real registry: locked, built on, run, and used as it is."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flyte
import pytest

from tests.support.cli import Cli
from tests.support.daemons import registry, shell
from tests.support.machine import mirror
from tests.support.tools import need, need_root

pytestmark = pytest.mark.integration

# In the second layer: something taken away, a user, a folder of its own, and a variable.
CHANGES = (
    "rm -rf /usr/share/doc/bash /etc/motd && echo app:x:1500:1500::/srv/app:/bin/sh >> /etc/passwd"
    " && mkdir -p /srv/app && chown 1500:1500 /srv/app && echo theirs > /srv/app/data.txt"
)
FLOW = f"""\
import os
import sys
from pathlib import Path

import flyte

BASE = flyte.Image.from_base("HOST/foreign/python:1")
image = (
    BASE.clone(name="mine", extendable=True)
    .with_pip_packages("flyte=={flyte.__version__}", "colorama==0.4.6")
    .with_apt_packages("tree")
    .with_env_vars({{"MINE": "$THEIRS-and-ours"}})
    .with_source_file(Path(__file__).parent / "own.txt", "sub/")
)
based = flyte.TaskEnvironment("based", image=image)
other = flyte.TaskEnvironment("other", image="HOST/team/made:1")


@based.task
def look(x: int) -> str:
    import subprocess

    import colorama
    import yaml

    said = subprocess.run(["tree", "--version"], capture_output=True, text=True, check=True).stdout.split()[0]
    texts = [Path(name).read_text().strip() for name in ("/srv/app/data.txt", "/srv/app/sub/own.txt")]
    gone = Path("/etc/motd").exists()
    modules = f"{{colorama.__version__}} {{yaml.__name__}}"
    return f"{{sys.prefix}} {{modules}} {{said}} {{os.environ['MINE']}} {{texts}} {{gone}} {{x}}"


@other.task
def plain(x: int) -> str:
    import colorama

    return f"{{colorama.__version__}} {{os.environ['MINE']}} {{x}}"
"""


@dataclass(frozen=True)
class Site:
    """A registry with the foreign base in it, and a project that stands on it."""

    host: str
    base: str
    folder: Path
    cli: Cli

    def lock(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "lockfiles" / "based.json").read_text())
        return found

    def manifest(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(shell(need("skopeo"), "inspect", "--raw", "--tls-verify=false", name))
        return found


@pytest.fixture(scope="module")
def site(home: Path) -> Iterator[Site]:
    need_root("debootstrap and buildah")
    folder = home / "bases"
    folder.mkdir()
    root = folder / "root"
    shell(
        need("debootstrap"),
        "--variant=minbase",
        "--include=ca-certificates,python3,python3-yaml",
        *("bookworm", root, mirror("bookworm")),
        timeout=500,
    )
    storage = ["--root", str(folder / "storage"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]
    buildah = [need("buildah"), *storage]

    def say(*words: str | Path) -> str:
        return shell(*buildah, *words, timeout=300).strip()

    below = say("from", "scratch")
    say("add", "--quiet", below, root, "/")
    say("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", "--env", "THEIRS=theirs", below)
    say("config", "--workingdir", "/srv/app", "--user", "app", "--cmd", "python3", "--label", "who=someone", below)
    say("commit", "--quiet", "--format", "docker", below, "below")
    above = say("from", "localhost/below")
    say("run", "--isolation", "chroot", "--user", "0", above, "--", "/bin/sh", "-c", CHANGES)
    say("commit", "--quiet", "--format", "docker", above, "base")
    with registry(folder / "registry") as host:
        name = f"{host}/foreign/python:1"
        say("push", "--quiet", "--tls-verify=false", "localhost/base", f"docker://{name}")
        project = folder / "project"
        (project / "lockfiles").mkdir(parents=True)
        (project / "flow.py").write_text(FLOW.replace("HOST", host))
        (project / "own.txt").write_text("ours\n")
        yield Site(host, name, project, Cli(folder / "home"))


@pytest.fixture(scope="module")
def image(site: Site) -> str:
    """The image on the foreign base: locked and built; its digest."""
    site.cli.ok("lock", site.folder / "flow.py", "--env", "based")
    built = site.cli.ok("build", site.folder / "flow.py", "--env", "based", "--json").json()
    (one,) = built["images"]
    return str(one["digest"])


def test_the_lock_says_what_the_registry_says(site: Site, image: str) -> None:
    manifest = site.manifest(f"docker://{site.base}")
    base = site.lock()["platforms"]["linux/amd64"]["base"]
    assert [x["digest"] for x in base["layers"]] == [x["digest"] for x in manifest["layers"]]
    assert base["config"]["digest"] == manifest["config"]["digest"]
    config = json.loads(
        shell(need("skopeo"), "inspect", "--config", "--raw", "--tls-verify=false", f"docker://{site.base}")
    )
    assert [x["diff_id"] for x in base["layers"]] == config["rootfs"]["diff_ids"]
    facts = base["facts"]
    assert (facts["python"], facts["glibc"], facts["system"]) == ("/usr/bin/python3.11", "2.36", "debian bookworm")
    assert (facts["uid"], facts["gid"]) == (1500, 1500)
    assert {"_yaml", "yaml"} <= set(facts["modules"])
    installed = {row.split()[0] for row in facts["debs"]}
    assert {"libc6", "python3.11-minimal", "ca-certificates"} <= installed


def test_the_bases_layers_are_the_registrys_bytes_and_ours_lie_on_them(site: Site, image: str) -> None:
    theirs = site.manifest(f"docker://{site.base}")
    layout = site.cli.cache / "oci"
    made = site.manifest(f"oci:{layout}:based-linux-amd64")
    count = len(theirs["layers"])
    assert [x["digest"] for x in made["layers"][:count]] == [x["digest"] for x in theirs["layers"]]
    assert {x["mediaType"] for x in made["layers"]} == {"application/vnd.oci.image.layer.v1.tar+gzip"}
    assert made["annotations"]["org.opencontainers.image.base.name"] == site.base


def test_a_task_runs_on_what_the_base_has_and_what_was_added(site: Site, image: str) -> None:
    done = site.cli.ok("run", site.folder / "flow.py", "look", "--x", "7")
    assert "/opt/venv 0.4.6 yaml tree theirs-and-ours ['theirs', 'ours'] False 7" in done.out


def test_buildah_sees_the_same_image(site: Site, image: str) -> None:
    storage = ["--root", str(site.folder.parent / "storage"), "--runroot", str(site.folder.parent / "run")]
    buildah = [need("buildah"), *storage, "--storage-driver", "vfs"]
    name = shell(*buildah, "from", f"oci:{site.cli.cache / 'oci'}:based-linux-amd64").splitlines()[-1]
    look = "id -u; pwd; command -v a0; command -v tree; echo $MINE; stat -c '%u %g' /srv/app /srv/app/sub/own.txt"
    said = shell(*buildah, "run", "--isolation", "chroot", name, "--", "sh", "-c", look).split("\n")
    shell(*buildah, "rm", name)
    assert said[:7] == [
        "1500",
        "/srv/app",
        "/opt/venv/bin/a0",
        "/usr/bin/tree",
        "theirs-and-ours",
        "1500 1500",
        "1500 1500",
    ]


def test_the_assembler_alone_makes_the_same_image_from_the_blobs(site: Site, image: str, tmp_path: Path) -> None:
    """The standard library, the plan, and artifacts by their SHA-256: the base's layers are among them."""
    cache = site.cli.cache
    script = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from flyte_build.deriving.local_files import snapshot, sources\n"
        "from flyte_build.locks.lockfile import read\n"
        "from flyte_build.deriving.derivation import derive\n"
        "from flyte_build.deriving.from_lock import recorded_recipe\n"
        "lock = read(Path('lockfiles'), 'based')\n"
        "recipe, platform, root = recorded_recipe(lock), 'linux/amd64', Path('.').absolute()\n"
        "made = derive(lock, recipe, platform, snapshot(recipe, root, lock.platforms[platform].base))\n"
        "Path(sys.argv[1]).write_text(json.dumps(dict(made.spec)))\n"
        "Path(sys.argv[2]).write_text(json.dumps({k: str(v) for k, v in sources(recipe, root).items()}))\n"
    )
    plan, local = tmp_path / "plan.json", tmp_path / "local.json"
    subprocess.run([sys.executable, "-c", script, plan, local], cwd=site.folder, check=True)
    places = ["--artifacts", cache / "artifacts" / "sha256", "--artifacts", cache / "oci" / "blobs" / "sha256"]
    done = subprocess.run(
        [sys.executable, "-m", "flyte_build.assemble", plan, tmp_path / "out", "--map", local, *places],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == image


def test_an_image_used_as_it_is_keeps_its_digest_and_runs(site: Site, image: str) -> None:
    made = f"{site.host}/team/made:1"
    copied = shell(
        *(need("skopeo"), "copy", "--quiet", "--dest-tls-verify=false"),
        *(f"oci:{site.cli.cache / 'oci'}:based-linux-amd64", f"docker://{made}"),
    )
    assert copied == ""
    site.cli.ok("lock", site.folder / "flow.py", "--env", "other")
    built = site.cli.ok("build", site.folder / "flow.py", "--env", "other", "--json").json()
    (one,) = built["images"]
    assert one["digest"] == image
    raw = shell(need("skopeo"), "inspect", "--raw", "--tls-verify=false", f"docker://{made}")
    assert "sha256:" + hashlib.sha256(raw.encode()).hexdigest() == image
    done = site.cli.ok("run", site.folder / "flow.py", "plain", "--x", "8")
    assert "0.4.6 theirs-and-ours 8" in done.out


def test_a_second_machine_locks_and_builds_the_same(site: Site, image: str, tmp_path: Path) -> None:
    """Another cache, the committed lock: the same digest, and the base is pulled because it is not there."""
    other = Cli(tmp_path / "home")
    built = other.ok("build", site.folder / "flow.py", "--env", "based", "--json").json()
    (one,) = built["images"]
    assert one["digest"] == image
    before = (site.folder / "lockfiles" / "based.json").read_bytes()
    other.ok("lock", site.folder / "flow.py", "--env", "based")
    assert (site.folder / "lockfiles" / "based.json").read_bytes() == before
    assert not (tmp_path / "home" / "cache" / "bases").exists(), "nobody had to look into the base again"
