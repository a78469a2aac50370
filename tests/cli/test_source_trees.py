"""Requirements from Git repositories and folders: built when locked, pinned to a commit, stale when files change."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ..support.archive import Signer
from ..support.building_python import UNPACKS
from ..support.offline import Offline
from ..support.wheels import build_wheel
from .test_source_builds import built, platform, python_is

FLOW = """\
import flyte
base = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",))
low = flyte.TaskEnvironment("low", image=base.with_pip_packages({}))
@low.task
def main(x: int) -> int:
    return x
"""


def git(folder: Path, *arguments: str) -> str:
    settings = (
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b.example",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "tag.gpgsign=false",
    )
    done = subprocess.run(["git", *settings, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def source(folder: Path, version: str) -> None:
    """A project whose wheel lies in it: the stand-in for a Python copies it."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    build_wheel(folder, "gamma", version)
    (folder / "pyproject.toml").write_text('[build-system]\nrequires = ["setuptools"]\nbuild-backend = "x"\n')


@pytest.fixture
def project(offline: Offline, signer: Signer) -> Offline:
    python_is(offline, signer, UNPACKS, programs=("tar",))
    offline.publish("setuptools", "70.0")
    return offline


@pytest.fixture
def repository(project: Offline) -> Path:
    """A bare repository on disk: version 1.0 is tagged, and the branch is behind it."""
    work, bare = project.home / "work", project.home / "gamma.git"
    source(work, "1.0")
    git(work, "init", "--quiet", "--initial-branch=trunk")
    git(work, "add", ".")
    git(work, "commit", "--quiet", "--message=one")
    git(work, "tag", "v1.0")
    git(work, "clone", "--quiet", "--bare", ".", str(bare))
    return bare


def commit_another(project: Offline, repository: Path) -> str:
    source(project.home / "work", "2.0")
    git(project.home / "work", "add", "--all")
    git(project.home / "work", "commit", "--quiet", "--message=two")
    git(project.home / "work", "push", "--quiet", str(repository), "trunk")
    return git(project.home / "work", "rev-parse", "HEAD")


def wheel(project: Offline) -> dict[str, Any]:
    (found,) = [w for w in platform(project)["wheels"] if w["name"] == "gamma"]
    return dict(found)


def test_a_repository_at_a_branch(project: Offline, repository: Path) -> None:
    first = git(repository, "rev-parse", "trunk")
    project.write(FLOW.format(f"'gamma @ git+{repository.as_uri()}@trunk'"))
    said = project.ok("lock", "flow.py").err
    assert f"environment low: gamma of a Git repository at trunk: commit {first}" in " ".join(said.split())
    (build,) = platform(project)["builds"]
    assert (build["source"]["commit"], build["source"]["file"], build["reproducible"]) == (first, "gamma.tar", True)
    assert (wheel(project)["version"], wheel(project)["sha256"]) == ("1.0", build["wheel"])
    assert str(repository) not in (project.lockfiles / "low.json").read_text()
    image = built(project)
    # The branch has moved: the lock has not, even where the environment is chosen anew.
    second = commit_another(project, repository)
    project.ok("lock", "--check", "flow.py")
    project.write(FLOW.format(f"'gamma @ git+{repository.as_uri()}@trunk', 'alpha'"))
    project.ok("lock", "flow.py")
    assert platform(project)["builds"][0]["source"]["commit"] == first
    project.ok("lock", "flow.py", "--upgrade-package", "gamma")
    assert platform(project)["builds"][0]["source"]["commit"] == second
    assert wheel(project)["version"] == "2.0"
    assert built(project) != image


def test_a_machine_that_lacks_the_wheel_builds_it_of_that_commit(project: Offline, repository: Path) -> None:
    project.write(FLOW.format(f"'git+{repository.as_uri()}'"))
    project.ok("lock", "flow.py")
    first = built(project)
    commit_another(project, repository)
    shutil.rmtree(project.store)
    said = project.ok("build", "flow.py").err
    assert "gamma-1.0-py3-none-any.whl is not here, and is built again of gamma.tar" in said
    assert built(project) == first


def test_a_folder_of_the_project_is_stale_when_it_changes(project: Offline) -> None:
    source(project.lockfiles.parent / "libs/gamma", "1.0")
    project.write(FLOW.format("'gamma @ ./libs/gamma'"))
    project.ok("lock", "flow.py")
    lock = json.loads((project.lockfiles / "low.json").read_text())
    (row,) = next(step["sources"] for step in lock["recipe"]["steps"] if "sources" in step)
    assert (row["name"], row["path"]) == ("gamma", "libs/gamma")
    first = built(project)
    # What tools leave there is no change; a file of its own is.
    (project.lockfiles.parent / "libs/gamma/__pycache__").mkdir()
    (project.lockfiles.parent / "libs/gamma/__pycache__/x.pyc").write_bytes(b"x")
    project.ok("lock", "--check", "flow.py")
    shutil.rmtree(project.store)
    assert built(project) == first
    (project.lockfiles.parent / "libs/gamma/more.py").write_text("x = 1\n")
    said = project.refused(4, "lock", "--check", "flow.py")
    assert "sources" in said
    project.ok("lock", "flow.py")
    project.ok("lock", "--check", "flow.py")


def test_what_cannot_be_had_is_said(project: Offline, repository: Path) -> None:
    project.write(FLOW.format(f"'gamma @ git+{repository.as_uri()}@v9'"))
    assert "there is no revision `v9`" in project.refused(6, "lock", "flow.py")
    project.write(FLOW.format(f"'gamma @ git+{project.home.as_uri()}/nowhere.git'"))
    assert "git fetch failed" in project.refused(6, "lock", "flow.py")
    project.write(FLOW.format(f"'delta @ git+{repository.as_uri()}@v1.0'"))
    assert "expected delta, found gamma in delta of a Git repository at v1.0" in project.refused(5, "lock", "flow.py")
    project.write(FLOW.format("'gamma @ ./nowhere'"))
    assert "is no Python project" in project.refused(3, "lock", "flow.py")
    assert not list(project.lockfiles.glob("*.json"))


def test_a_uv_project_names_a_repository_and_has_no_lock(project: Offline, repository: Path) -> None:
    work = project.home / "work"
    (work / "pyproject.toml").write_text(
        '[project]\nname = "gamma"\nversion = "1.0"\n[build-system]\nrequires = ["setuptools"]\nbuild-backend = "x"\n'
    )
    git(work, "commit", "--quiet", "--all", "--message=static")
    git(work, "push", "--quiet", str(repository), "trunk")
    first = git(work, "rev-parse", "HEAD")
    app = '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["gamma"]\n'
    project.write(
        f'{app}[tool.uv.sources]\ngamma = {{ git = "{repository.as_uri()}", branch = "trunk" }}\n', "pyproject.toml"
    )
    project.write(FLOW.replace("with_pip_packages({})", 'with_uv_project("pyproject.toml")'))
    said = project.ok("lock", "flow.py").err
    assert f"environment low: gamma of pyproject.toml: commit {first}" in " ".join(said.split())
    (build,) = platform(project)["builds"]
    assert build["source"]["commit"] == first
    image = built(project)
    # The branch moves; a machine that lacks the wheel builds it of the commit that is locked.
    commit_another(project, repository)
    project.ok("lock", "--check", "flow.py")
    shutil.rmtree(project.store)
    assert "is built again of gamma.tar" in project.ok("build", "flow.py").err
    assert built(project) == image
