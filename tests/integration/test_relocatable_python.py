"""A relocatable Python on our own Debian, from a mirror of our own: locked, built, run, with wheels over it.

The archive holds the Python that runs this test, in the layout of those that uv installs. The builds that uv itself
knows are on a host that tests do not reach.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.locking import whole_lock
from tests.support.pythons import listing, of_this_machine

pytestmark = pytest.mark.integration

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
# What this machine's Python links to, which uv's have inside: names of Debian 12.
LIBRARIES = ("libbz2-1.0", "libffi8", "liblzma5", "libncursesw6", "libreadline8", "libsqlite3-0", "libssl3", "libuuid1")
FLOW = f"""\
import flyte

image = (
    flyte.Image.from_debian_base(python_version=({PYTHON.replace(".", ", ")}), platform=("linux/amd64",))
    .with_apt_packages{LIBRARIES}
    .with_pip_packages("six")
)
env = flyte.TaskEnvironment("env", image=image)


@env.task
def main() -> str:
    import ctypes, os, pathlib, sqlite3, ssl, subprocess, sys, sysconfig
    import six

    assert ctypes.CDLL(None).getpid() == os.getpid()
    assert sqlite3.connect(":memory:").execute("select 6 * 7").fetchone() == (42,)
    assert ssl.create_default_context().get_ca_certs(), ssl.get_default_verify_paths()
    said = subprocess.run([sys.executable, "-c", "import six; print(six.__name__)"], capture_output=True, text=True)
    script = pathlib.Path("/opt/venv/bin/a0").read_text().splitlines()[0]
    found = [sys.prefix, sys.base_prefix, sysconfig.get_config_var("prefix"), sysconfig.get_path("include")]
    marker = pathlib.Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").is_file()
    command = ["/usr/local/bin/python3", "-c", "import sys; print(sys.prefix)"]
    other = subprocess.run(command, capture_output=True, text=True)
    return " ".join([*found, script, said.stdout.strip(), str(marker), other.stdout.strip()])
"""


def platform(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = whole_lock(folder / "lockfiles/env.json")["platforms"]["linux/amd64"]
    return found


def test_from_a_mirror_to_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = of_this_machine(tmp_path / "mirror")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(listing(tmp_path / "list.json", archive)))
    project = tmp_path / "project"
    (project / "lockfiles").mkdir(parents=True)
    (project / "pyproject.toml").write_text('[tool.flyte-build]\nbase = "standalone"\n')
    flow = project / "flow.py"
    flow.write_text(FLOW)
    cli = Cli(tmp_path)

    said = cli("lock", flow)
    assert said.code == 0, said.err
    held = platform(project)
    assert held["python"]["file"] == archive.name
    assert not [deb["name"] for deb in held["debs"] if deb["name"].startswith(("python3", "libpython3"))]
    assert f"is the relocatable build that uv installs: {archive.name}" in " ".join(said.err.split())
    assert f"python {held['python']['version']} (relocatable)" in cli("plan", flow, "--json").out

    ran = cli("run", flow, "main")
    assert ran.code == 0, ran.err
    assert (
        f"/opt/venv /usr/local /usr/local /usr/local/include/python{PYTHON} #!/opt/venv/bin/python six True /usr/local"
        in " ".join(ran.out.split())
    )
