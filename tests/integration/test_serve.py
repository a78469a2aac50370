"""``serve``: an app in its own image, its code changed while it is served, a mistake in it, and Ctrl-C."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli

pytestmark = pytest.mark.integration

MAIN = """
import http.server
import flyte, flyte.app

app = flyte.app.AppEnvironment(name="front", image=flyte.Image.from_debian_base(python_version=(3, 11)), port=18764)


class Own(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"first")


@app.server
def server() -> None:
    print("serving", flush=True)
    http.server.HTTPServer(("127.0.0.1", 18764), Own).serve_forever()
"""


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    folder = tmp_path_factory.mktemp("locked")
    (folder / "pyproject.toml").write_text("[tool.flyte-build]\n")
    (folder / "main.py").write_text(MAIN)
    cli.ok("lock", "main.py", cwd=folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, locked: Path) -> Path:
    return shutil.copytree(locked, tmp_path / "project")


def events(serving: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert serving.stdout is not None
    yield from map(json.loads, serving.stdout)


def until(told: Iterator[dict[str, Any]], event: str) -> dict[str, Any]:
    return next(e for e in told if e["event"] == event)


def test_an_app_is_served_anew_when_its_code_changes_until_ctrl_c(project: Path, cli: Cli) -> None:
    command = cli.command("serve", "--json", "--network", "none", "main.py", "front")
    with subprocess.Popen(command, cwd=project, env=cli.environment(), stdout=subprocess.PIPE, text=True) as serving:
        # So that a mistake ends in words: with it, no more events come.
        late = threading.Timer(200, serving.kill)
        late.start()
        try:
            told = events(serving)
            url = until(told, "ready")["url"]
            assert urllib.request.urlopen(url).read() == b"first"
            main = project / "main.py"
            main.write_text(MAIN.replace('b"first"', 'b"second"'))
            assert until(told, "changed")["files"] == ["main.py"]
            assert until(told, "ready")["url"] == url
            assert urllib.request.urlopen(url).read() == b"second"
            main.write_text("this is no Python")
            assert "main.py" in until(told, "failed")["message"]
            # The version before is still there.
            assert urllib.request.urlopen(url).read() == b"second"
            main.write_text(MAIN.replace('print("serving", flush=True)', "raise SystemExit(3)"))
            assert "app front ended with exit code" in until(told, "failed")["message"]
            main.write_text(MAIN)
            assert until(told, "ready")["url"] == url
            serving.send_signal(signal.SIGINT)
            assert serving.wait(60) == 0
        finally:
            late.cancel()
            serving.kill()


def test_what_cannot_be_served_is_said(project: Path, cli: Cli) -> None:
    missing = cli("serve", "main.py", "back", cwd=project)
    assert (missing.code, missing.err.splitlines()[0]) == (3, "error: no app environment `back`; there are: front")
    (project / "main.py").write_text(MAIN.replace('print("serving", flush=True)', "raise SystemExit('no model')"))
    ended = cli("serve", "--no-reload", "--network", "none", "main.py", cwd=project)
    assert ended.code == 12
    assert "app front ended with exit code 1" in ended.err
    assert "no model" in ended.out
