"""Apps for the time of a run: found by ``app.endpoint``, waited for, and told of where they end before they answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from flyte_build.submit.action import Phase
from flyte_build.submit.run import RunResult
from flyte_build.submit.sandbox.entrance import choose
from flyte_build.submit.sandbox.spec import Network
from flyte_build.submit.served import ServedApp
from tests.support.sandboxes import free_ports

from .conftest import Runs

pytestmark = pytest.mark.integration

SERVER = """
import http.server, os, sys
class Own(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["NAME"].encode())
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Own).serve_forever()
"""


def app(runs: Runs, name: str, port: int, code: str = SERVER) -> ServedApp:
    digest = runs.images["leaf"].digest
    return ServedApp(name, digest, ("python", "-c", code, str(port)), port, {"NAME": f"{name} answers"})


@pytest.mark.parametrize("network", ["none", "host"])
def test_a_task_finds_the_apps_it_depends_on(runs: Runs, outputs: Callable[[RunResult], Any], network: Network) -> None:
    runs.images["apps"] = runs.images["leaf"]
    root = runs.action("apps", "ask")
    front, back = free_ports(2) if network == "host" else (8080, 8081)
    apps = app(runs, "front", front), app(runs, "back", back)
    ended = runs.run(root, "r", apps=apps, engine=choose(network=network))
    assert ended.phase is Phase.SUCCEEDED, ended.error
    assert outputs(ended) == ["front answers", "back answers", "http://front.localhost", "True"]
    assert not (ended.folder / "scratch").exists()


def test_an_app_that_ends_before_it_answers_fails_the_run_with_its_words(runs: Runs) -> None:
    runs.images["apps"] = runs.images["leaf"]
    bad = app(runs, "front", 8080, "raise SystemExit('no model')")
    ended = runs.run(runs.action("apps", "ask"), "r", apps=(bad,), engine=choose(network="none"))
    assert ended.phase is Phase.FAILED
    assert ended.error is not None
    log = ended.folder / "workers" / "app-front.log"
    assert (ended.error.code, ended.error.message) == (
        "AppFailed",
        f"app front ended with exit code 1: {log}\nno model",
    )
    assert os.path.getsize(log)
