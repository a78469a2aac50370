"""Packages that have source distributions only, from the configured index: locked, built, run, and built again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli

pytestmark = pytest.mark.integration

FLOW = """\
import flyte

image = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",)).with_pip_packages(
    "langdetect==1.0.9", "pycosat==0.6.6"
)
env = flyte.TaskEnvironment("env", image=image)


@env.task
def main() -> str:
    import langdetect
    import pycosat

    found = pycosat.solve([[1, -2], [2]])
    return f"{langdetect.detect('Guten Tag, wie geht es Ihnen heute?')} {found}"
"""


def platform(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "lockfiles/env.json").read_text())["platforms"]["linux/amd64"]
    return found


def test_a_pure_one_and_one_with_c_in_it(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    flow = tmp_path / "flow.py"
    flow.write_text(FLOW)
    (tmp_path / "lockfiles").mkdir()
    said = cli("lock", flow)
    assert said.code == 0, said.err
    held = platform(tmp_path)
    native = {build["source"]["name"]: (build["native"], build["reproducible"]) for build in held["builds"]}
    assert native == {"langdetect": (False, True), "pycosat": (True, True)}
    assert "gcc" in {deb["name"] for deb in held["tools"]}
    assert "gcc" not in {deb["name"] for deb in held["debs"]}
    ran = cli("run", flow, "main")
    assert ran.code == 0, ran.err
    assert "de [1, 2]" in ran.out
    first = cli("build", flow, "--json").json()["images"][0]["digest"]
    shutil.rmtree(next(tmp_path.glob("**/artifacts")).parent)
    again = cli("build", flow, "--json")
    assert again.json()["images"][0]["digest"] == first
