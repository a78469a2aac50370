"""What a command imports is what its user waits for: those that only read load none of what runs, asks or builds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "flyte",
    "connectrpc",
    "uvicorn",
    "httpx",
    "kubernetes",
    "pydantic",
    "flyte_build.submit.engine",
    "flyte_build.submit.run",
)
PROGRAM = f"""
import sys
from flyte_build.cli import main
code = main(sys.argv[1:])
print(*[name for name in {HEAVY} if name in sys.modules])
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("command", "code"), [("runs", 0), ("logs absent", 12), ("page absent", 12), ("images", 0), ("store path", 0)]
)
def test_commands_that_read_load_little(tmp_path: Path, command: str, code: int) -> None:
    home = {**os.environ, "HOME": str(tmp_path), "FLYTE_BUILD_CACHE": str(tmp_path / "cache")}
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split()],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=home,
    )
    assert (said.returncode, said.stdout.splitlines()[-1]) == (code, ""), said.stderr
