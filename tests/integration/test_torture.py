"""Sixty kills of the torture: `./dev torture --kills 1000` is for an evening."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tools import need

KILLS = 60


@pytest.mark.integration
def test_sixty_kills_leave_nothing_broken() -> None:
    need("docker-registry", "docker-registry")
    need("bwrap", "bubblewrap")
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.torture", "--kills", str(KILLS)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].endswith(" kills, 0 broken")
