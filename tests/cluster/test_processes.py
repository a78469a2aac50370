"""Processes are known by number and start time: ours are found and ended, and no other's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.processes import Processes, descendants, memory, started
from tests.cluster.site import ClusterError

WAITS = [sys.executable, "-S", "-c", "import signal; print('waits', flush=True); signal.pause()"]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    ours = Processes(tmp_path)
    yield ours
    for name in ours.names():
        ours.stop(name)


def test_one_is_started_once_and_ended(processes: Processes) -> None:
    assert processes.pid("one") is None
    assert processes.start("one", WAITS)
    pid = processes.pid("one")
    assert pid is not None
    assert not processes.start("one", WAITS)
    assert processes.pid("one") == pid
    processes.wait("one", lambda: "waits" in processes.log("one").read_text())
    assert memory(pid) > 1 << 20
    assert os.getsid(pid) == pid
    processes.stop("one", signal.SIGTERM)
    processes.stop("one")
    assert started(pid) is None
    assert processes.names() == []


def test_another_process_of_the_same_number_is_left_alone(processes: Processes, tmp_path: Path) -> None:
    with subprocess.Popen(WAITS, stdout=subprocess.PIPE) as stranger:
        (tmp_path / "processes").mkdir()
        known = {"pid": stranger.pid, "started": (started(stranger.pid) or 0) - 1}
        (tmp_path / "processes" / "one").write_text(json.dumps(known))
        assert processes.pid("one") is None
        processes.stop("one")
        assert stranger.poll() is None
        assert processes.names() == []
        stranger.kill()


def test_an_ended_one_is_told_with_the_end_of_its_log(processes: Processes) -> None:
    processes.start("bad", ["sh", "-c", "seq 100; echo it is broken >&2; exit 3"])
    with pytest.raises(ClusterError, match=r"(?s)^bad ended; the end of .*bad\.log:\n  87\n.*\n  it is broken$"):
        processes.wait("bad", lambda: False)
    processes.start("slow", WAITS)
    with pytest.raises(ClusterError, match=r"^slow is not ready after 0 s; "):
        processes.wait("slow", lambda: False, seconds=0)


def test_one_that_does_not_end_is_said(processes: Processes) -> None:
    processes.start("deaf", [*WAITS[:-1], WAITS[-1].replace(";", "; signal.signal(15, signal.SIG_IGN);", 1)])
    processes.wait("deaf", lambda: "waits" in processes.log("deaf").read_text())
    with pytest.raises(ClusterError, match=r"^deaf \(process \d+\) still runs 0 s after"):
        processes.stop("deaf", signal.SIGTERM, seconds=0)
    assert processes.pid("deaf") is not None


def test_one_that_is_killed_is_waited_for_later(processes: Processes) -> None:
    processes.kill("nobody")
    processes.start("one", WAITS)
    pid = processes.pid("one")
    assert pid is not None
    processes.kill("one")
    processes.gone("one")
    assert started(pid) is None


def test_what_it_started_is_found_with_its_words() -> None:
    with subprocess.Popen(["sh", "-c", 'sleep "$0" & echo; wait', "1000.5"], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        ((child, words),) = descendants(parent.pid)
        assert child != parent.pid
        assert "1000.5" in words
        parent.kill()
        os.kill(child, signal.SIGKILL)
