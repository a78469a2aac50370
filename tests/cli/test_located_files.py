"""Wheels and source archives by their address, or in a file: locked by their hash, whatever is there later."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from ..support.archive import Signer
from ..support.building_python import BUILDS
from ..support.offline import Offline
from ..support.wheels import build_wheel
from .test_source_builds import built, platform, python_is
from .test_source_trees import FLOW

WHEEL = "gamma-1.0-py3-none-any.whl"


def publish(project: Offline, body: bytes = b"x = 1\n", login: str = "") -> str:
    """A wheel that no page of the index lists; its address."""
    folder = project.index.folder / "x"
    folder.mkdir(exist_ok=True)
    made = build_wheel(folder, "gamma", "1.0", {"gamma.py": body})
    made.rename(project.index.folder / WHEEL)
    return f"http://{login}{project.index.host}/files/{WHEEL}"


def wheel(project: Offline) -> dict[str, Any]:
    (found,) = [w for w in platform(project)["wheels"] if w["name"] == "gamma"]
    return dict(found)


def test_a_wheel_by_its_address(offline: Offline) -> None:
    project = offline
    url = publish(project)
    project.write(FLOW.format(f"'gamma @ {url}', 'alpha'"))
    project.ok("lock", "flow.py")
    assert wheel(project)["sha256"] == project.index.sha256(WHEEL)
    assert "builds" not in platform(project)
    assert project.index.host not in (project.lockfiles / "low.json").read_text()
    first = built(project)
    project.index.asked.clear()
    shutil.rmtree(project.store)
    assert built(project) == first
    # It is had from there, and its name is asked of no index.
    assert f"GET /files/{WHEEL}" in project.index.asked
    assert "GET /simple/gamma/" not in project.index.asked
    # What was locked stays; other bytes at the address are an error, until they are asked for.
    publish(project, b"x = 2\n")
    shutil.rmtree(project.store)
    assert "what is served is not what was locked" in project.refused(6, "build", "flow.py")
    project.write(FLOW.format(f"'gamma @ {url}'"))
    said = project.refused(6, "lock", "flow.py")
    assert f"environment low: {WHEEL}: expected SHA-256" in said
    assert "--upgrade-package gamma" in said
    project.ok("lock", "flow.py", "--upgrade-package", "gamma")
    assert wheel(project)["sha256"] == project.index.sha256(WHEEL)
    assert built(project) != first


def test_another_hash_than_its_address_states(offline: Offline) -> None:
    url = publish(offline)
    offline.write(FLOW.format(f"'gamma @ {url}#sha256={'0' * 64}'"))
    assert f"{WHEEL}: expected SHA-256 {'0' * 64}" in offline.refused(6, "lock", "flow.py")
    assert not list(offline.lockfiles.glob("*.json"))
    offline.write(FLOW.format(f"'gamma @ {url}#sha256={offline.index.sha256(WHEEL)}'"))
    offline.ok("lock", "flow.py")
    offline.ok("lock", "--check", "flow.py")


def test_credentials_open_it_and_are_written_nowhere(offline: Offline) -> None:
    offline.index.login = "user:s3cr3t-t0k3n"
    url = publish(offline, login="user:s3cr3t-t0k3n@")
    offline.write(FLOW.format(f"'gamma @ {url}'"))
    offline.patch.setenv("UV_DEFAULT_INDEX", f"http://user:s3cr3t-t0k3n@{offline.index.host}/simple")
    said = offline.ok("lock", "flow.py")
    built(offline)
    lock = offline.lockfiles / "low.json"
    assert "s3cr3t" not in lock.read_text() + said.err + said.out
    # Whoever logs in otherwise has the same lock.
    offline.write(FLOW.format(f"'gamma @ {url.replace('s3cr3t-t0k3n', 'another')}'"))
    offline.ok("lock", "--check", "flow.py")


def test_a_wheel_in_the_project(offline: Offline) -> None:
    folder = offline.lockfiles.parent / "dist"
    folder.mkdir()
    build_wheel(folder, "gamma", "1.0", {"gamma.py": b"x = 1\n"})
    offline.write(FLOW.format(f"'gamma @ ./dist/{WHEEL}'"))
    offline.ok("lock", "flow.py")
    first = built(offline)
    shutil.rmtree(offline.store)
    assert built(offline) == first
    build_wheel(folder, "gamma", "1.0", {"gamma.py": b"x = 2\n"})
    assert "sources" in offline.refused(4, "lock", "--check", "flow.py")
    offline.ok("lock", "flow.py")
    assert built(offline) != first


@pytest.fixture
def builds(offline: Offline, signer: Signer) -> Offline:
    python_is(offline, signer, BUILDS)
    offline.publish("setuptools", "70.0")
    build_wheel(offline.home, "gamma", "1.0").rename(offline.index.folder / "v1.zip")
    return offline


def test_a_source_archive_by_its_address(builds: Offline) -> None:
    url = f"http://{builds.index.host}/files/v1.zip"
    builds.write(FLOW.format(f"'gamma @ {url}'"))
    builds.ok("lock", "flow.py")
    (build,) = platform(builds)["builds"]
    assert (build["source"]["file"], build["source"]["sha256"]) == ("v1.zip", builds.index.sha256("v1.zip"))
    assert build["source"]["asked"].startswith("sha256:")
    first = built(builds)
    shutil.rmtree(builds.store)
    said = builds.ok("build", "flow.py").err
    assert "gamma-1.0-py3-none-any.whl is not here, and is built again of v1.zip" in said
    assert built(builds) == first
    assert builds.index.host not in json.dumps(platform(builds))
