"""A wheel without machine code is built for one platform of an environment, and serves those that do not run here."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flyte_build.locking.apt.lock import BASE

from ..support.archive import Deb, Signer, publish
from ..support.building_python import BUILDS, python_files
from ..support.locking import whole_lock
from ..support.offline import Offline
from ..support.wheels import build_wheel

FLOW = """\
import flyte
base = flyte.Image.from_debian_base(python_version=(3, 11))
low = flyte.TaskEnvironment("low", image=base.with_pip_packages("gamma"))
@low.task
def main(x: int) -> int:
    return x
"""


def published(offline: Offline, signer: Signer, script: str) -> None:
    """A base for two platforms whose Python on amd64 is ``script``."""
    debs = []
    for architecture in ("amd64", "arm64"):
        debs += [Deb(name, "1.0", architecture=architecture) for name in BASE]
        files = python_files(script) if architecture == "amd64" else {"usr/bin/python3.11": (0o755, b"#!/bin/sh\n")}
        debs.append(Deb("python3.11", "3.11.2-6", {"Depends": "libc6"}, architecture, files=files))
        debs.append(Deb("libpython3.11-stdlib", "3.11.2-6", architecture=architecture, source="python3.11"))
        debs.append(Deb("libc6", "2.36-9", architecture=architecture, source="glibc"))
    publish(offline.home / "www/debian", signer, "bookworm", debs, architectures=("amd64", "arm64"),
            date=datetime.now(UTC) - timedelta(days=1), valid=None, files=True)  # fmt: skip


@pytest.fixture
def project(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> Offline:
    """A source distribution, and a machine that runs the programs of amd64 alone."""
    offline.publish("setuptools", "70.0")
    build_wheel(offline.home, "gamma", "1.0").rename(offline.index.folder / "gamma-1.0.zip")
    monkeypatch.setattr(
        "flyte_build.workbench.source_builds.foreign",
        lambda platform, lent=False: None if platform == "linux/amd64" else "linux/amd64",
    )
    offline.write(FLOW)
    return offline


def parts(project: Offline) -> Mapping[str, Any]:
    found: Mapping[str, Any] = whole_lock(project.lockfiles / "low.json")["platforms"]
    return found


def test_one_build_serves_both(project: Offline, signer: Signer) -> None:
    published(project, signer, BUILDS)
    said = project.ok("lock", "flow.py").err
    assert said.count("gamma-1.0.zip is built") == 1
    (here,), (there,) = parts(project)["linux/amd64"]["builds"], parts(project)["linux/arm64"]["builds"]
    assert there == {**here, "platform": "linux/amd64"}
    assert [w["sha256"] for w in parts(project)["linux/arm64"]["wheels"] if w["name"] == "gamma"] == [here["wheel"]]
    project.ok("lock", "--check", "flow.py")
    # A machine that lacks it builds it where it was built.
    first = project.ok("build", "flow.py", "--platform", "linux/arm64", "--json").json()["images"][0]["digest"]
    shutil.rmtree(project.store)
    again = project.ok("build", "flow.py", "--platform", "linux/arm64")
    assert "is not here, and is built again of gamma-1.0.zip" in again.err
    assert project.ok("build", "flow.py", "--platform", "linux/arm64", "--json").json()["images"][0]["digest"] == first


MACHINE_CODE = """#!/bin/sh
mkdir /build/out
for f in /build/*.zip; do cp $f /build/out/gamma-1.0-cp311-cp311-linux_x86_64.whl; done
"""


def test_machine_code_does_not(project: Offline, signer: Signer) -> None:
    published(project, signer, MACHINE_CODE)
    said = project.refused(5, "lock", "flow.py")
    assert "gamma 1.0 has no wheel for linux/arm64, and this machine (linux/amd64) runs no programs for it" in said
