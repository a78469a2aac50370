"""A free-threaded Python by its name, from a mirror of our own: locked with the wheels that are its own, and built."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from flyte_build.locking.apt.lock import BASE, BESIDE

from ..support.archive import Deb, Signer, publish
from ..support.offline import Offline
from ..support.pythons import file_name, files, listing, pack
from ..support.wheels import build_wheel
from .test_source_builds import built, platform

FLOW = """\
import flyte
base = flyte.Image.from_debian_base(python_version=(3, "14t"), platform=("linux/amd64",))
low = flyte.TaskEnvironment("low", image=base.with_pip_packages("quick", "plain"))
@low.task
def main(x: int) -> int:
    return x
"""


@pytest.fixture
def project(offline: Offline, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> Offline:
    debs = [Deb(name, "1.0") for name in (*BASE, *BESIDE)] + [Deb("libc6", "2.36-9", source="glibc")]
    day = datetime.now(UTC) - timedelta(days=1)
    publish(offline.home / "www/debian", signer, "bookworm", debs, date=day, valid=None, files=True)
    mirror = offline.home / "mirror"
    names = {file_name("3.14.2", threaded=True): "3.14t", file_name("3.14.3"): "3.14"}
    archives = [pack(mirror / "20260102" / name, files(python)) for name, python in names.items()]
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(listing(mirror / "list.json", *archives)))
    offline.publish("plain")
    for tag in ("cp314-cp314", "cp314-cp314t"):
        build_wheel(offline.index.folder, "quick", "2.0", tag=f"{tag}-manylinux_2_17_x86_64")
    # What it would get without: a wheel for the other ABI, or an older version.
    build_wheel(offline.index.folder, "quick", "3.0", tag="cp314-cp314-manylinux_2_17_x86_64")
    build_wheel(offline.index.folder, "quick", "1.0", tag="py3-none-any")
    offline.write(FLOW)
    return offline


def test_by_name(project: Offline) -> None:
    said = project.ok("lock", "flow.py").err
    held = platform(project)
    assert (held["python"]["version"], held["python"]["file"]) == ("3.14.2", file_name("3.14.2", threaded=True))
    assert "Python 3.14.2 (linux/amd64) is the relocatable build that uv installs" in " ".join(said.split())
    wheels = {row["name"]: row["file"] for row in held["wheels"]}
    assert wheels["quick"] == "quick-2.0-cp314-cp314t-manylinux_2_17_x86_64.whl"
    image = built(project)
    # Another machine fetches the same archive by its hash, and makes the same image.
    shutil.rmtree(project.store)
    assert built(project) == image
    project.ok("export", "requirements", "flow.py", "--format", "pylock", "--wheels", "wheels", "-o", "pylock.toml")
    assert 'requires-python = "==3.14.*"' in (project.project / "pylock.toml").read_text()


def test_one_that_is_not_there(project: Offline) -> None:
    project.write(FLOW.replace("14t", "12t"))
    said = project.refused(7, "lock", "flow.py")
    assert "there is no free-threaded build of Python 3.12 to be had" in said
    assert "there are 3.13t and 3.14t" in said
