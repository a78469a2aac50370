"""A Poetry project, as a person has it: locked as its poetry.lock says, by its hashes, and stale with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..support.layers import sha256
from ..support.offline import Offline
from .test_source_builds import built, platform

FLOW = """\
import pathlib
import flyte
base = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",))
image = base.with_poetry_project(pathlib.Path("pyproject.toml"), extra_args="--without lint")
low = flyte.TaskEnvironment("low", image=image)
@low.task
def main(x: int) -> int:
    return x
"""
PROJECT = """\
[project]
name = "app"
version = "1"
requires-python = ">=3.10"
dependencies = ["alpha (>=1,<2)"]
[dependency-groups]
lint = ["ruffle"]
[tool.poetry.group.docs]
optional = true
[tool.poetry.group.docs.dependencies]
sphinks = "*"
"""
LOCK = """\
{packages}
[metadata]
lock-version = "2.1"
python-versions = ">=3.10"
content-hash = "4f216b54cf4dfb3bb930760d6eb6f9b5e676d1a7ed9a139bb96254d68e095816"
"""


def package(wheel: Path, group: str) -> str:
    name, version = wheel.name.split("-")[:2]
    return (
        f'[[package]]\nname = "{name}"\nversion = "{version}"\noptional = false\npython-versions = "*"\n'
        f'groups = ["{group}"]\nfiles = [{{file = "{wheel.name}", hash = "sha256:{sha256(wheel)}"}}]\n'
    )


@pytest.fixture
def project(offline: Offline) -> Offline:
    wheels = {offline.publish("alpha", "1.0"): "main", offline.publish("ruffle", "3.0"): "lint"}
    offline.publish("alpha", "1.5")
    offline.write(PROJECT, "pyproject.toml")
    packages = "".join(package(wheel, group) for wheel, group in wheels.items())
    offline.write(LOCK.format(packages=packages), "poetry.lock")
    offline.write(FLOW)
    return offline


def versions(project: Offline) -> dict[str, str]:
    return {row["name"]: row["version"] for row in platform(project)["wheels"]}


def test_what_the_lock_says_is_in_the_image(project: Offline) -> None:
    project.ok("lock", "flow.py")
    found = versions(project)
    assert found["alpha"] == "1.0"
    assert "flyte" in found
    assert "ruffle" not in found
    built(project)
    project.ok("lock", "--check", "flow.py")
    # Another choice is another lock; another project is none.
    project.write(FLOW.replace("--without lint", ""))
    assert "requirements" in project.refused(4, "lock", "--check", "flow.py")
    project.write(PROJECT.replace("<2", "<3"), "pyproject.toml")
    said = project.refused(4, "plan", "flow.py")
    assert "does not answer pyproject.toml as it is now" in said
    assert "run `poetry lock`" in said


def test_other_bytes_are_not_taken(project: Offline) -> None:
    text = (project.project / "poetry.lock").read_text()
    digest = text.partition("sha256:")[2][:64]
    project.write(text.replace(digest, "0" * 64), "poetry.lock")
    assert "which is none of the 1 that its requirements file allows" in project.refused(5, "lock", "flow.py")
