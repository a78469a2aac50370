"""``venv``: the image's wheels on this machine, exactly, and nobody else's folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ..support.offline import Offline, workflow

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"

pytestmark = [
    pytest.mark.skipif(HERE != "3.11", reason="the project of these tests is locked for Python 3.11"),
    pytest.mark.skipif(sys.platform != "linux", reason="its wheels are for Linux"),
]


@pytest.fixture
def locked(offline: Offline) -> Offline:
    offline.write(workflow("low: alpha", "top(low): alpha beta"))
    offline.write("VALUE = 7\n", "own_module.py")
    offline.locked()
    return offline


def installed(python: Path) -> set[str]:
    code = "import importlib.metadata as m; print(' '.join(sorted(d.name for d in m.distributions())))"
    return set(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def make(offline: Offline, *more: str) -> dict[str, str]:
    said: dict[str, str] = offline.ok("venv", "flow.py", "--python", sys.executable, "--json", *more).json()
    return said


def test_it_has_the_locked_wheels_and_the_project(locked: Offline) -> None:
    said = make(locked, "--env", "top")
    assert said["folder"] == str(locked.project / ".venv-top")
    python = Path(said["interpreter"])
    assert installed(python) == {"alpha", "beta", "flyte"}
    code = "import own_module; print(own_module.VALUE)"
    assert subprocess.run([python, "-c", code], capture_output=True, check=True).stdout == b"7\n"


def test_it_is_brought_up_to_date(locked: Offline) -> None:
    assert make(locked, "--env", "top", "-o", "here")["fresh"]
    locked.write(workflow("low: alpha", "top(low): alpha"))
    locked.ok("lock", "flow.py")
    said = make(locked, "--env", "top", "-o", "here")
    assert not said["fresh"]
    assert installed(Path(said["interpreter"])) == {"alpha", "flyte"}


def test_what_somebody_else_made_is_not_touched(locked: Offline) -> None:
    theirs = locked.project / "theirs"
    theirs.mkdir()
    (theirs / "notes.txt").write_text("mine")
    said = locked.refused(2, "venv", "flow.py", "--env", "low", "-o", "theirs")
    assert "expected no folder, or one that `flyte-build venv` made" in said
    assert [p.name for p in theirs.iterdir()] == ["notes.txt"]


def test_what_fails_leaves_nothing(locked: Offline) -> None:
    said = locked.refused(8, "venv", "flow.py", "--env", "low", "--python", "/nowhere/python")
    assert "uv ended with exit code" in said
    assert not (locked.project / ".venv-low").exists()


def test_it_is_of_one_environment(locked: Offline) -> None:
    assert "expected one environment, found 2: low, top" in locked.refused(2, "venv", "flow.py")
