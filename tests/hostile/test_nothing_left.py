"""Killed commands leave nothing behind: not when the next one has run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_build.kernel.scratch import PREFIX

from ..support.offline import Offline


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def killed(project: Offline, ready: Callable[[], bool], *arguments: str) -> None:
    """Run a command in a process of its own and kill it when ``ready``; it has to be so before it ends."""
    command = [sys.executable, "-m", "flyte_build", *arguments]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=project.project, stdin=quiet, stdout=quiet, stderr=quiet)
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, f"ended with {process.returncode} before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_lock(offline: Offline, temporary: Path) -> None:
    killed(offline, lambda: any(p.name.startswith(PREFIX) for p in temporary.iterdir()), "lock", "flow.py")
    assert any(temporary.iterdir())
    offline.locked()
    assert list(temporary.iterdir()) == []
    assert [p.name for p in offline.lockfiles.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_killed_build(offline: Offline, temporary: Path, after: int) -> None:
    offline.locked()
    tmp = offline.store / "tmp"

    def ready() -> bool:
        made = list((offline.store / "realisations").glob("*.json"))
        return len(made) >= after and any(tmp.glob("session-*"))

    killed(offline, ready, "build", "flow.py")
    assert any(tmp.glob("session-*"))
    offline.ok("build", "flow.py")
    assert [p for p in tmp.rglob("*") if p.name != "partial"] == []
    assert list(temporary.iterdir()) == []
    offline.verified()


def test_a_killed_archive(offline: Offline, temporary: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    offline.locked()
    offline.ok("build", "flow.py")
    # As a killed process leaves it: whole bytes would take no time here.
    left = out / f".images.tar{PREFIX}abcdefgh"
    left.write_bytes(os.urandom(1000))
    offline.ok("build", "flow.py", "--output", f"oci-archive:{out / 'images.tar'}")
    assert [p.name for p in out.iterdir()] == ["images.tar"]
