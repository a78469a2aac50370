"""A package without wheels: its source is built in a sandbox when the project is locked, and again where it lacks."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ..support.archive import Deb, Signer, publish
from ..support.building_python import BUILDS, python_files
from ..support.locking import whole_lock
from ..support.offline import Offline, workflow
from ..support.wheels import build_wheel


def python_is(offline: Offline, signer: Signer, script: str, tool: str = "", programs: tuple[str, ...] = ()) -> None:
    """Publish a base whose Python is ``script``, and with ``tool`` build-essential that brings another."""
    from flyte_build.locking.apt.lock import BASE

    debs = [Deb(name, "1.0") for name in BASE]
    debs.append(Deb("python3.11", "3.11.2-6", {"Depends": "libc6"}, files=python_files(script, *programs)))
    debs.append(Deb("libpython3.11-stdlib", "3.11.2-6", source="python3.11"))
    debs.append(Deb("libc6", "2.36-9", source="glibc"))
    if tool:
        debs.append(Deb("build-essential", "12", files={"usr/share/compiler": (0o644, tool.encode())}))
        debs.append(Deb("python3.11-dev", "3.11.2-6"))
    publish(offline.home / "www/debian", signer, "bookworm", debs, architectures=("amd64", "arm64"),
            date=datetime.now(UTC) - timedelta(days=1), valid=None, files=True)  # fmt: skip


@pytest.fixture
def project(offline: Offline, signer: Signer) -> Offline:
    python_is(offline, signer, BUILDS)
    offline.publish("setuptools", "70.0")
    made = build_wheel(offline.home, "gamma", "1.0")
    made.rename(offline.index.folder / "gamma-1.0.zip")
    offline.write(workflow("low: gamma"))
    return offline


def platform(project: Offline) -> dict[str, Any]:
    found: dict[str, Any] = whole_lock(project.lockfiles / "low.json")["platforms"]["linux/amd64"]
    return found


def built(project: Offline) -> str:
    (image,) = project.ok("build", "flow.py", "--json").json()["images"]
    digest: str = image["digest"]
    return digest


def test_locked_and_built(project: Offline) -> None:
    said = project.ok("lock", "flow.py").err
    assert "low: no index has a wheel of gamma: gamma-1.0.zip is built, without a network" in said
    assert "low: built gamma-1.0-py3-none-any.whl of gamma-1.0.zip" in said
    held = platform(project)
    (build,) = held["builds"]
    (wheel,) = [w for w in held["wheels"] if w["name"] == "gamma"]
    assert build["wheel"] == wheel["sha256"]
    assert (build["source"]["file"], build["reproducible"], build["native"]) == ("gamma-1.0.zip", True, False)
    assert [w["file"] for w in build["requires"]] == ["setuptools-70.0-py3-none-any.whl"]
    assert "setuptools" not in [w["name"] for w in held["wheels"]]
    assert "tools" not in held
    built(project)
    project.ok("lock", "--check", "flow.py")


def test_what_was_built_is_not_built_again(project: Offline) -> None:
    project.ok("lock", "flow.py")
    before = platform(project)["builds"]
    project.write(workflow("low: gamma alpha"))
    said = project.ok("lock", "flow.py").err
    assert "is built" not in said
    assert platform(project)["builds"] == before


def test_a_machine_that_lacks_the_wheel_builds_it_again(project: Offline) -> None:
    project.ok("lock", "flow.py")
    first = built(project)
    shutil.rmtree(project.store)
    said = project.ok("build", "flow.py")
    assert "gamma-1.0-py3-none-any.whl is not here, and is built again of gamma-1.0.zip" in said.err
    assert built(project) == first


def test_another_wheel_is_an_error(project: Offline) -> None:
    project.ok("lock", "flow.py")
    path = project.lockfiles / "low.json"
    wheel = platform(project)["builds"][0]["wheel"]
    lock = json.loads(path.read_text())
    held = lock["platforms"]["linux/amd64"]
    for row, key in ((held["builds"][0], "wheel"), (next(w for w in held["wheels"] if w["name"] == "gamma"), "sha256")):
        row[key] = "0" * 64
    path.write_text(json.dumps(lock))
    shutil.rmtree(project.store)
    said = project.refused(16, "build", "flow.py")
    assert "gamma-1.0.zip became another wheel than was locked" in said
    assert wheel in said


def test_a_bundle_has_it(project: Offline) -> None:
    project.ok("lock", "flow.py")
    first = built(project)
    project.ok("bundle", "flow.py", "-o", project.home / "x.fbundle", "--no-images")
    shutil.rmtree(project.store)
    (project.index.folder / "gamma-1.0.zip").unlink()
    project.ok("unbundle", project.home / "x.fbundle")
    assert built(project) == first


COMPILES = """#!/bin/sh
test -e /usr/share/compiler || { echo no compiler; exit 1; }
mkdir /build/out
for f in /build/*.zip; do cp $f /build/out/gamma-1.0-py3-none-any.whl; done
"""


def test_what_needs_a_compiler_has_one_that_is_in_no_image(project: Offline, signer: Signer) -> None:
    python_is(project, signer, COMPILES, tool="gcc")
    said = project.ok("lock", "flow.py").err
    assert "gamma-1.0.zip does not build by itself: once more, with build-essential" in said
    held = platform(project)
    assert held["builds"][0]["native"]
    assert [d["name"] for d in held["tools"]] == ["build-essential", "python3.11-dev"]
    assert "build-essential" not in [d["name"] for d in held["debs"]]
    first = built(project)
    shutil.rmtree(project.store)
    assert built(project) == first


def test_what_does_not_build_at_all_is_said_with_its_words(project: Offline, signer: Signer) -> None:
    python_is(project, signer, "#!/bin/sh\necho something is missing; exit 1\n", tool="gcc")
    said = project.refused(16, "lock", "flow.py")
    assert "`build gamma-1.0.zip`: `python /build/run.py` ended with exit code 1" in said
    assert "something is missing" in said
    assert not list(Path(project.lockfiles).glob("*.json"))
