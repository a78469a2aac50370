"""A uv project without a uv.lock: a repository and an archive of which only a backend tells what they require, locked,
run, and built again by whoever has the lock and the project alone."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import flyte
import pytest

from tests.cli.test_source_trees import git
from tests.integration.test_uv_monorepo import BACKEND, FLOW
from tests.support.cli import Cli
from tests.support.http import serving
from tests.support.locking import whole_lock

pytestmark = pytest.mark.integration

MANIFEST = """\
[project]
name = "{name}"
dynamic = ["version", "dependencies"]
[tool.setuptools.dynamic]
version = {{ attr = "{name}.VERSION" }}
dependencies = {{ file = ["requires.txt"] }}
"""


def package(folder: Path, name: str, *requires: str, more: str = "") -> Path:
    """One whose version and requirements are in files that its backend reads."""
    (folder / "src" / name).mkdir(parents=True)
    (folder / "src" / name / "__init__.py").write_text(f"VERSION = '3.1'\ndef price():\n    return '{name} costs 3'\n")
    (folder / "requires.txt").write_text("".join(f"{one}\n" for one in requires))
    (folder / "pyproject.toml").write_text(MANIFEST.format(name=name) + more + BACKEND)
    return folder


def test_what_only_backends_tell(tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "lockfiles").mkdir(parents=True)
    sources = '[tool.uv.sources]\nparts = { path = "parts" }\n'
    goods = package(tmp_path / "goods", "goods", "parts>=3", "packed", more=sources)
    package(goods / "parts", "parts", "iniconfig")
    archive = tmp_path / "packed-3.1.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(package(tmp_path / "packed", "packed", "parts<4"), "packed-3.1")
    git(goods, "init", "--quiet", "--initial-branch=main")
    git(goods, "add", ".")
    git(goods, "commit", "--quiet", "--message=one")
    with serving() as server:
        url = server.put(archive.name, archive.read_bytes())
        (root / "pyproject.toml").write_text(
            f'[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11,<3.12"\n'
            f'dependencies = ["goods", "packed", "flyte=={flyte.__version__}"]\n'
            f'[tool.uv.sources]\ngoods = {{ git = "{goods.as_uri()}" }}\npacked = {{ url = "{url}" }}\n'
        )
        flow = root / "flow.py"
        flow.write_text(FLOW.format(name="shop", package="goods", distribution="parts", arguments=""))
        cli = Cli(tmp_path)
        said = cli("lock", flow)
        assert said.code == 0, said.err
        held: dict[str, Any] = whole_lock(root / "lockfiles/shop.json")["platforms"]["linux/amd64"]
        assert {b["source"]["name"] for b in held["builds"]} == {"goods", "packed", "parts"}
        assert {w["version"] for w in held["wheels"] if w["name"] in ("goods", "packed", "parts")} == {"3.1"}
        for build in held["builds"]:
            for sha256 in (build["wheel"], build["source"]["sha256"]):
                (cli.cache / "artifacts/sha256" / sha256).unlink()
        ran = cli("run", flow, "main")
        assert ran.code == 0, ran.err
        assert "goods costs 3 iniconfig 3.1" in ran.out
