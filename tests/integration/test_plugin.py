"""The plug-in on the oldest Flyte SDK that we say works, in an environment of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from uv import find_uv_bin

from .conftest import ROOT

pytestmark = pytest.mark.integration

# What depends on the SDK: the plug-in, reading images and files, and the runtime's protocol.
TESTS = (
    "tests/plugin",
    "tests/test_sdk.py",
    "tests/test_images.py",
    "tests/submit/test_service.py",
    "tests/submit/test_template.py",
    "tests/submit/test_runs.py",
)


def oldest() -> str:
    """The version in ``flyte>=…`` of our own requirements."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (found,) = (m for r in project["dependencies"] if (m := re.fullmatch(r"flyte>=([\d.]+),<3", r)))
    return str(found[1])


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter whose environment has this checkout, and the oldest SDK instead of the newest."""
    folder = tmp_path_factory.mktemp("oldest") / "venv"
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder], check=True, timeout=120)
    made = folder / "bin" / "python"
    wanted = ["-e", f"{ROOT}[dev]", f"flyte=={oldest()}"]
    command = [uv, "pip", "install", "-q", "--python", made, *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return made


def test_it_is_another_version(python: Path) -> None:
    code = "import importlib.metadata as m; print(m.version('flyte'), m.version('flyte-build'))"
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.split()[0] == oldest()


def test_the_contract_holds_on_the_oldest_version(python: Path) -> None:
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not integration", *TESTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
