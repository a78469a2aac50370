"""Debian's own ODBC driver: its script, which registers it, is run by Debian's own dpkg when the project is locked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import Cli

pytestmark = pytest.mark.integration

FLOW = """\
import flyte

image = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",)).with_apt_packages(
    "tdsodbc"
)
env = flyte.TaskEnvironment("env", image=image)


@env.task
def main() -> str:
    import subprocess
    from pathlib import Path

    said = subprocess.run(["dpkg", "--audit"], capture_output=True, check=False)
    drivers = Path("/etc/odbcinst.ini").read_text().splitlines()
    return f"{said.returncode} {said.stdout!r} {drivers[0]}"
"""


def test_what_scripts_make_is_there(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    flow = tmp_path / "flow.py"
    flow.write_text(FLOW)
    (tmp_path / "lockfiles").mkdir()
    said = cli("lock", flow)
    assert said.code == 0, said.err
    (seal,) = json.loads((tmp_path / "lockfiles/env.json").read_text())["platforms"]["linux/amd64"]["seals"]
    assert (seal["step"], seal["reproducible"]) == (-1, True)
    ran = cli("run", flow, "main")
    assert ran.code == 0, ran.err
    assert "0 b'' [FreeTDS]" in ran.out
