"""The example's environment as a PEX: the committed lock's real wheels, run by a Python that has none of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.tools import need

from .conftest import EXAMPLE, LOCKFILES

pytestmark = pytest.mark.integration


def run(pex: Path, root: Path, *arguments: str) -> str:
    """What the file prints; its first line finds the Python on the path."""
    python = Path(need("python3.11")).resolve().parent
    environment = {"PATH": f"{python}:/usr/bin:/bin", "PEX_ROOT": str(root), "HOME": str(root)}
    done = subprocess.run(
        [str(pex), *arguments], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_examples_wheels_run_without_a_container_and_give_the_same_bytes_twice(cli: Cli, tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "msa.pex", tmp_path / "two" / "deeper" / "msa.pex"
    made = cli.ok("export", "pex", EXAMPLE, "--env", "msa_env", "-o", one, "--json").json()
    two.parent.mkdir(parents=True)
    copied = shutil.copy(LOCKFILES / "msa_env.json", two.parent / "msa_env.json")
    again = cli.ok("export", "pex", copied, "-o", two.name, "--json", cwd=two.parent).json()
    assert made["sha256"] == again["sha256"] == hashlib.sha256(two.read_bytes()).hexdigest()
    assert made["wheels"] == again["wheels"]
    for path in (str(tmp_path), str(cli.home), os.environ.get("HOME", "/nonexistent")):
        assert f"{path}/".encode() not in one.read_bytes()
    said = run(one, tmp_path / "root", "-c", "import flyte, pytest; print(flyte.__version__, flyte.__file__)")
    assert said.startswith("2.12.1 ")
    assert str(tmp_path / "root") in said, "imported from the file, not from this machine's Python"


def test_a_script_of_the_example(cli: Cli, tmp_path: Path) -> None:
    pex = tmp_path / "tests.pex"
    cli.ok("export", "pex", EXAMPLE, "--env", "msa_env", "-o", pex, "-c", "pytest")
    assert run(pex, tmp_path / "root", "--version").startswith("pytest ")


def test_another_machines_file_can_be_made_here(cli: Cli, tmp_path: Path) -> None:
    made = cli.ok(
        *(
            "export",
            "pex",
            EXAMPLE,
            "--env",
            "msa_env",
            "-o",
            tmp_path / "arm.pex",
            "--platform",
            "linux/arm64",
            "--json",
        )
    ).json()
    assert made["platforms"] == ["linux/arm64"]


def test_the_examples_requirements_are_installed_by_pip_with_their_hashes(cli: Cli, tmp_path: Path) -> None:
    done = cli.ok("export", "requirements", EXAMPLE, "--env", "msa_env", "--wheels", tmp_path / "wheels")
    (tmp_path / "requirements.txt").write_text(done.out)
    target = tmp_path / "target"
    command = [sys.executable, "-m", "pip", "install", "--require-hashes", "--no-index", "--only-binary", ":all:"]
    command += ["--python-version", "3.11", "--find-links", str(tmp_path / "wheels"), "--target", str(target)]
    command += ["-r", str(tmp_path / "requirements.txt")]
    installed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    assert (target / "flyte" / "__init__.py").is_file()
