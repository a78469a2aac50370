"""A container task in an image that somebody else made, with a shell and no Python: locked by digest, pulled, run."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.support.bases import BaseImage, publish_base
from tests.support.cli import Cli
from tests.support.registry import RegistryServer
from tests.support.tiny_root import tiny_root

pytestmark = pytest.mark.integration

MAIN = """
import flyte
from flyte.extras import ContainerTask

echo = ContainerTask(
    name="echo", image="HOST/team/tools:1", inputs={"x": str}, outputs={"o": str},
    command=["sh", "-c", "cat /var/inputs/x > /var/outputs/o; echo $0 >> /var/outputs/o", "{{.inputs.x}}!"])
env = flyte.TaskEnvironment.from_task("tools", echo)
"""


def test_it_runs_in_the_image_that_it_names(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member, data in tiny_root():
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    (tmp_path / "pyproject.toml").write_text("[tool.flyte-build]\n")
    cli = Cli(tmp_path / "home")
    with RegistryServer() as server:
        publish_base(server, "team/tools", BaseImage([out.getvalue()], {"Env": ["PATH=/bin"]}))
        (tmp_path / "main.py").write_text(MAIN.replace("HOST", server.host))
        done = cli.ok("run", "--json", "--network", "none", "main.py", "echo", "--x", "hi", cwd=tmp_path)
    assert json.loads(done.out)["outputs"] == {"o": "hihi!\n"}
    lock = json.loads((tmp_path / "lockfiles/tools.json").read_text())
    assert "sha256:" in json.dumps(lock["platforms"]["linux/amd64"]["base"])
