"""A pixi project from its lock to a run: a Python of its own, a package with a command, flyte from an index.

The Python is the one that runs this test, as a conda package. No channel is reached.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.conda import PYTHON, package, pixi_lock, python_of_this_machine
from tests.support.locking import whole_lock

from .test_relocatable_python import LIBRARIES

pytest.importorskip("rattler")
pytestmark = pytest.mark.integration

ENV = "/opt/pixi-project/.pixi/envs/default"
FLOW = f"""\
import flyte

image = (
    flyte.Image.from_debian_base(platform=("linux/amd64",))
    .with_apt_packages{LIBRARIES}
    .with_pixi_project("pixi.toml")
    .with_pip_packages("flyte")
)
env = flyte.TaskEnvironment("env", image=image)


@env.task
def main() -> str:
    import os, pathlib, subprocess, sys
    import pure

    said = subprocess.run(["pure-cli"], capture_output=True, text=True)
    files = sorted(path.name for path in pathlib.Path("/opt/pixi-project").iterdir())
    return " ".join([sys.executable, sys.prefix, pure.WORD, said.stdout.strip(), os.environ["UV_PYTHON"], *files])
"""


def test_from_a_lock_to_a_run(tmp_path: Path) -> None:
    channel, project = tmp_path / "channel", tmp_path / "project"
    (project / "lockfiles").mkdir(parents=True)
    python = python_of_this_machine(channel, tmp_path / "scratch")
    code = b"WORD = 'conda'\n\ndef main():\n    print('pure-' + WORD)\n"
    metadata = b"Metadata-Version: 2.1\nName: Pure-Thing\nVersion: 1.0\n"
    pure = package(
        channel,
        "pure",
        {"site-packages/pure/__init__.py": code, "site-packages/pure_thing-1.0.dist-info/METADATA": metadata},
        noarch="python",
        entry_points=["pure-cli = pure:main"],
        depends=["python"],
        purls=["pkg:pypi/pure-thing"],
    )
    pixi_lock(project / "pixi.lock", {"linux-64": [pure, python]})
    (project / "pixi.toml").write_text('[workspace]\nchannels = ["x"]\nplatforms = ["linux-64"]\n')
    flow = project / "flow.py"
    flow.write_text(FLOW)
    cli = Cli(tmp_path, seconds=900)

    said = cli("lock", flow)
    assert said.code == 0, said.err
    held = whole_lock(project / "lockfiles/env.json")["platforms"]["linux/amd64"]
    assert [p["name"] for p in held["conda"]] == ["pure", "python"]
    said = cli("run", flow, "main")
    assert said.code == 0, said.err
    assert f"{ENV}/bin/python {ENV} conda pure-conda {ENV}/bin/python .pixi pixi.lock pixi.toml" in " ".join(
        said.out.split()
    )
    found = cli("sbom", project / "lockfiles/env.json", "--format", "cyclonedx").out
    assert f"pkg:conda/python@{PYTHON}" in found
    assert "subdir=linux-64" in found
