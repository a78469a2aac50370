"""A cluster whose tests were killed is put down all the same."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.cluster import ROOT
from tests.cluster.processes import Processes, started

pytestmark = pytest.mark.integration

# A number that no `up` has come to as long as there is a lower one that is free.
SCRIPT = """
import signal, sys
from pathlib import Path
from tests.cluster.guard import guarded
from tests.cluster.processes import Processes
from tests.cluster.site import Site

home = Path(sys.argv[1])
home.mkdir()
with guarded(home):
    Site(home, 49, {}).write()
    for name in ("registry", "of somebody else"):
        Processes(home).start(name, ["sleep", "1000"])
    print("there", flush=True)
    signal.pause()
"""


def test_what_tests_started_does_not_outlive_them(able: None, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with subprocess.Popen([sys.executable, "-c", SCRIPT, str(home)], cwd=ROOT, stdout=subprocess.PIPE) as tests:
        assert tests.stdout is not None
        assert tests.stdout.readline() == b"there\n"
        processes = Processes(home)
        pids = [pid for name in processes.names() if (pid := processes.pid(name)) is not None]
        assert len(pids) == 2
        tests.kill()
    for _ in range(1200):
        if not home.exists():
            break
        time.sleep(0.05)
    assert not home.exists()
    assert [pid for pid in pids if started(pid) is not None] == []
