"""The two patterns of uv monorepos, with packages of our own: locked by uv, planned, built, and run in their images."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import flyte
import pytest

from flyte_build.sources.indexes.settings import uv_binary
from tests.support.cli import Cli
from tests.support.locking import whole_lock

pytestmark = pytest.mark.integration

BACKEND = '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
FLOW = """\
import pathlib
import flyte

here = pathlib.Path(__file__).parent
image = (
    flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",))
    .with_uv_project(pyproject_file=here / "pyproject.toml", {arguments})
)
env = flyte.TaskEnvironment("{name}", image=image)


@env.task
def main() -> str:
    import importlib.metadata

    import {package}
    import iniconfig

    try:
        held = importlib.metadata.version("{distribution}")
    except importlib.metadata.PackageNotFoundError:
        held = "no distribution"
    return f"{{{package}.price()}} {{iniconfig.__name__}} {{held}}"
"""


def package(folder: Path, name: str, *dependencies: str, more: str = "") -> Path:
    """A package in a src layout whose module has one function."""
    module = folder / "src" / name
    module.mkdir(parents=True)
    (module / "__init__.py").write_text(f"def price():\n    return '{name} costs 3'\n")
    wanted = ", ".join(json.dumps(one) for one in dependencies)
    head = (
        f'[project]\nname = "{name}"\nversion = "0.1.0"\nrequires-python = ">=3.11,<3.12"\ndependencies = [{wanted}]\n'
    )
    (folder / "pyproject.toml").write_text(head + more + BACKEND)
    return folder


def uv_lock(folder: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    command = [str(uv_binary()), "lock", "--no-python-downloads"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def said_by(cli: Cli, flow: Path, *verbs: str) -> str:
    """What the run's task said, after these commands; a run plans and builds by itself."""
    for verb in verbs:
        done = cli(verb, flow)
        assert done.code == 0, done.err
    ran = cli("run", flow, "main")
    assert ran.code == 0, ran.err
    return str(ran.out)


def test_a_workspace_with_one_lock(tmp_path: Path) -> None:
    """The member is named, its dependencies are in the image, and its code and its sibling's come with the bundle."""
    root = tmp_path / "repository"
    root.mkdir()
    (root / "lockfiles").mkdir()
    (root / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["packages/*"]\n')
    package(root / "packages/goods", "goods", "iniconfig")
    sources = "[tool.uv.sources]\ngoods = { workspace = true }\n"
    shop = package(root / "packages/shop", "shop", "goods", f"flyte=={flyte.__version__}", more=sources)
    uv_lock(root)
    flow = shop / "flow.py"
    options = 'extra_args="--package shop", project_install_mode="install_project"'
    flow.write_text(FLOW.format(name="shop", package="goods", distribution="goods", arguments=options))
    assert "goods costs 3 iniconfig 0.1.0" in said_by(Cli(tmp_path), flow, "lock", "plan", "build")
    held = whole_lock(root / "lockfiles/shop.json")["platforms"]["linux/amd64"]
    assert {b["source"]["name"] for b in held["builds"]} == {"goods", "shop"}
    # One lock is the workspace's: what it says of a sibling's dependency is what is in the image.
    (row,) = [w for w in held["wheels"] if w["name"] == "iniconfig"]
    assert row["sha256"] in (root / "uv.lock").read_text()


def test_projects_of_their_own_with_sources_by_path(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    (root / "lockfiles").mkdir()
    package(root / "libs/goods", "goods", "iniconfig")
    sources = '[tool.uv.sources]\ngoods = { path = "../../libs/goods" }\n'
    shop = package(root / "apps/shop", "shop", "goods", f"flyte=={flyte.__version__}", more=sources)
    uv_lock(shop)
    flow = shop / "flow.py"
    flow.write_text(FLOW.format(name="shop", package="goods", distribution="goods", arguments=""))
    cli = Cli(tmp_path)
    assert "goods costs 3 iniconfig 0.1.0" in said_by(cli, flow, "lock")
    # A sibling that changes makes the lock stale.
    (root / "libs/goods/src/goods/__init__.py").write_text("def price():\n    return 'goods cost 4'\n")
    assert cli("lock", "--check", flow).code == 4
