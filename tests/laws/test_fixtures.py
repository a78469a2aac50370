"""Every test finds its fixtures, those too that run where the real tools are only, and has one name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.integration
def test_every_test_finds_its_fixtures() -> None:
    """A fixture that moved is otherwise missed where few look: planning all setups takes seconds and runs none."""
    everything = ["-m", "integration or not integration"]
    command = [sys.executable, "-m", "pytest", "--setup-plan", "-q", "-n", "0", "-p", "no:cacheprovider", *everything]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, "\n".join(
        line for line in done.stdout.splitlines() if line.startswith(("E  ", "ERROR "))
    )


@pytest.mark.integration
def test_tests_have_one_name_whenever_they_are_collected() -> None:
    """Another second, another hash seed: processes that share the tests have to mean the same ones."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", "-p", "no:cacheprovider", "--all"]
    named = []
    for seed in ("1", "2"):
        done = subprocess.run(
            command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=600, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        named.append([line for line in done.stdout.splitlines() if "::" in line])
    assert named[0] == named[1]
    assert len(named[0]) > 8000
