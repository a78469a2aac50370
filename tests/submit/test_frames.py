"""Tasks that take and give data frames, with pandas and pyarrow beside what the images have."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uv

from flyte_build.submit.action import Phase

from .conftest import Runs

pytestmark = pytest.mark.integration

PACKAGES = ("numpy==2.4.6", "pandas==3.1.1", "pyarrow==26.0.1", "python-dateutil==4.0.0", "tzdata==2026.6")
INSIDE = "/run/flyte-build/packages"
"""Where sandboxes have them."""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What those who take data frames lock, in a folder of its own: no dependency of these tests."""
    folder = tmp_path_factory.mktemp("packages")
    install = [uv.find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command = [*install, "--python", sys.executable, "--target", str(folder), *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_data_frames_go_in_and_out(
    runs: Runs, packages: Path, outputs: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame is a document in the run's storage: written by one task, and read by those of another image."""
    monkeypatch.setenv("PYTHONPATH", str(packages))  # for who declares the task
    for name, image in runs.images.items():
        env, binds = (*image.env, f"PYTHONPATH={INSIDE}"), (*image.binds, (packages, INSIDE))
        runs.images[name] = replace(image, env=env, binds=binds)
    result = runs.run(runs.action("frames", "main", rows=3), "one")
    assert result.phase is Phase.SUCCEEDED, result.error
    assert outputs(result) == [
        "number int64", "half float64", "word str", "when datetime64[us]", "True", "3 number,half,word,when,more",
        "[0, 2, 4]",
    ]  # fmt: skip
