"""``page`` and ``ui`` from the command line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from obstore.store import LocalStore

from ..support.offline import Offline
from ..support.runs import Call, make_run, store_run
from ..support.tools import lacking


@pytest.fixture
def run(offline: Offline) -> Path:
    make_run(offline.home / "state" / "runs", [Call("a0", task="env.main", log="hello")])
    return offline.home / "state" / "runs"


def test_a_page_is_written(offline: Offline, run: Path) -> None:
    done = offline.ok("page")
    assert done.out == "written to r20261120-101500-ab12.html: env.main, 1 action\n"
    text = (offline.project / "r20261120-101500-ab12.html").read_text()
    assert text.startswith("<!doctype html>")
    assert "hello" in text
    assert not re.search(r"(src|href)=", text), "it loads nothing"
    offline.ok("page", "r2026", "-o", "deep/er/run.html")
    assert (offline.project / "deep" / "er" / "run.html").exists()
    assert offline.ok("page", "-o", "-").out.rstrip("\n") == text.rstrip("\n")


def test_what_is_refused(offline: Offline, run: Path) -> None:
    assert "no run `r1999`" in offline.refused(12, "page", "r1999")
    assert "cannot be written" in offline.refused(9, "page", "-o", "/proc/no/run.html")


def test_where_there_are_no_runs(offline: Offline) -> None:
    assert "there are no runs here yet" in offline.refused(12, "page")


def test_ui_prints_its_address_and_ends_on_ctrl_c(offline: Offline, run: Path) -> None:
    apart = "import atexit; atexit.register(print, 'taken apart'); from flyte_build.cli import entry; entry()"
    command = [sys.executable, "-c", apart, "ui", "--no-open", "r2026"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as ui:
        assert ui.stdout is not None
        url = ui.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/run/r20261120-101500-ab12", url)
        with urllib.request.urlopen(url, timeout=20) as page:
            assert b"env.main" in page.read()
        ui.send_signal(signal.SIGINT)
        assert (ui.wait(20), ui.stdout.read()) == (0, ""), "nobody waits until the interpreter is taken apart"


def test_a_run_writes_its_page_however_it_ended(offline: Offline) -> None:
    """The image's interpreter is a text here, so that no run succeeds."""
    offline.locked()
    done = offline("run", "--page", "run.html", "flow.py", "main", "--x", "1")
    if done.code == 11:
        lacking("this machine cannot isolate a task")
    assert done.code == 12
    assert "page of the run: run.html" in done.err
    assert "ContainerFailed" in (offline.project / "run.html").read_text()


def test_the_page_of_a_run_of_a_target_by_each_of_its_commands(offline: Offline, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    storage.mkdir()
    (offline.project / "pyproject.toml").write_text(
        f'[tool.flyte-build.targets.prod]\nnamespace = "ml"\nstorage = "file://{storage}"\nkubeconfig = "none"\n'
    )
    store_run(
        make_run(tmp_path / "x", [Call("a0", task="env.main", log="hello")]), LocalStore(storage), storage.as_uri()
    )
    file = offline.project / "r20261120-101500-ab12.html"
    for command in (["page"], ["runs", "show", "--html", "r2026"]):
        done = offline.ok(*command, "--on", "prod")
        assert done.out == f"written to {file.name}: env.main, 1 action\n"
        assert "hello" in file.read_text()
        file.unlink()
    assert "no run `r1999`" in offline.refused(12, "ui", "--no-open", "--on", "prod", "r1999")


def test_runs_show_writes_the_page_of_a_run_here(offline: Offline, run: Path) -> None:
    assert offline.ok("runs", "show", "r2026", "--html").out.startswith("written to r20261120-101500-ab12.html: ")
    assert "give one" in offline.refused(2, "runs", "show", "r2026", "--html", "--json")
