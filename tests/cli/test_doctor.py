"""``doctor``: each fault of a machine, a place or a project is a line with its way out; the first gives the code."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from typing import Any

import pytest

from flyte_build.kernel.errors import SandboxError
from flyte_build.workbench.checkup import machine, places

from ..support.offline import Offline, snapshot, workflow

Lines = dict[str, dict[str, Any]]


def lines(offline: Offline, *arguments: str, code: int = 0) -> Lines:
    done = offline("doctor", *arguments, "--json")
    assert done.code == code, done.out + done.err
    return {line["name"]: line for line in json.loads(done.out)["lines"]}


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine can isolate is not what is asked here."""

    def refuses(**_: object) -> None:
        raise SandboxError("no way to isolate a task", hint="install bubblewrap")

    monkeypatch.setattr(machine, "choose", refuses)
    monkeypatch.setattr(machine.sys, "platform", "darwin")


def test_a_project_that_was_locked(offline: Offline) -> None:
    offline.locked()
    before = snapshot(offline.home)
    found = lines(offline, "flow.py")
    assert snapshot(offline.home) == before, "nothing is written"
    assert found["package index"]["state"] == "good"
    assert offline.index.url.rstrip("/") in found["package index"]["said"]
    assert found["Debian's archive"]["state"] == "good"
    assert found["clock"]["state"] == "good"
    assert found["lock of low"]["said"] == "answers its recipe, not pinned yet"
    assert found["calls"]["state"] == "good"
    assert "or on a Linux machine" in found["sandboxes"]["way_out"]
    out = offline.ok("doctor", "flow.py").out
    assert out.splitlines()[-1] == "nothing stands in the way"
    assert "  ✓ lock of top: answers its recipe, not pinned yet" in out


def test_a_lock_that_is_stale_or_missing(offline: Offline) -> None:
    assert lines(offline, "flow.py")["lock of low"]["state"] == "note"
    offline.locked()
    offline.write(workflow("low: alpha beta", "top(low): alpha beta"))
    found = lines(offline, "flow.py", code=4)["lock of low"]
    assert found["said"] == "stale: step 1 (pip), requirements: +beta"
    assert found["way_out"] == "`flyte-build lock flow.py`"


def test_a_file_that_does_not_load(offline: Offline) -> None:
    offline.write("import flyte\n1 / 0\n")
    found = lines(offline, "flow.py", code=3)["file"]
    assert "ZeroDivisionError" in found["said"]


def test_locks_that_git_ignores(offline: Offline) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    offline.locked()
    subprocess.run(["git", "init", "-q", offline.project], check=True)
    offline.write("lockfiles/\n", ".gitignore")
    assert "is ignored: a clone of this project has no locks" in lines(offline, "flow.py", code=4)["git"]["said"]


def test_places_that_do_not_answer(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("FLYTE_BUILD_DEBIAN_MIRROR", "http://127.0.0.1:9/debian")
    monkeypatch.setenv("FLYTE_BUILD_REGISTRY", "127.0.0.1:9/team")
    found = lines(offline, code=6)
    assert found["package index"]["state"] == "bad"
    assert found["Debian's archive"]["way_out"] == "set FLYTE_BUILD_DEBIAN_MIRROR to a mirror of Debian (docs/bases.md)"
    assert (found["registry"]["state"], found["registry"]["code"]) == ("bad", 14)
    assert found["file"]["state"] == "note", "there is no project, which is no fault"


def test_credentials_of_an_index_are_not_shown(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", offline.index.url.replace("http://", "http://me:secret-word@"))
    assert "secret-word" not in offline("doctor").out


def test_a_machine_that_cannot_isolate(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.sys, "platform", "linux")
    found = lines(offline, code=11)["sandboxes"]
    assert (found["said"], found["way_out"]) == ("no way to isolate a task", "install bubblewrap")


def test_programs_that_are_missing(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda _: None)
    monkeypatch.setattr(machine, "uv_binary", lambda: None)
    found = lines(offline, code=7)
    assert found["uv"]["way_out"] == "pip install uv"
    assert found["gpgv"]["way_out"] == "apt-get install gpgv"


def test_a_clock_that_is_wrong(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_now", lambda: time.time() + 3600)
    found = lines(offline, code=6)["clock"]
    assert found["said"].endswith("seconds ahead of the first server that was asked")


def test_a_store_that_cannot_be_written(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_BUILD_CACHE", "/proc/nowhere")
    found = lines(offline, code=9)["store"]
    assert found["way_out"] == "set $FLYTE_BUILD_CACHE to a folder that can be written"
