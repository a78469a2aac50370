"""Apps for the time of a run: found by ``app.endpoint``, waited for, and told of where they end before they answer."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyte_build.project.declaring import declare
from flyte_build.project.loading import load
from flyte_build.project.modules import Modules
from flyte_build.submit.action import Phase
from flyte_build.submit.cache import bundle_digest
from flyte_build.submit.control.application import Control
from flyte_build.submit.deployed import DeployedTask, Deployments
from flyte_build.submit.run import DOMAIN, PROJECT, RunResult, references_of
from flyte_build.submit.sandbox.entrance import choose
from flyte_build.submit.sandbox.spec import Network
from flyte_build.submit.served import ServedApp
from flyte_build.submit.template import pin_root, registered
from tests.support.sandboxes import free_ports

from .conftest import WORKFLOWS, Runs

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


@pytest.mark.parametrize("network", ["none", "host"])
def test_a_task_that_is_called_by_name_finds_those_it_was_deployed_with(
    runs: Runs, outputs: Callable[[RunResult], Any], network: Network, tmp_path: Path
) -> None:
    mine, front, back = free_ports(3) if network == "host" else (8080, 8080, 8081)
    brings = tuple(dataclasses.replace(app(runs, n, port), env={"NAME": f"the called one's {n}"}).to_json()
                   for n, port in (("front", front), ("back", back)))  # fmt: skip
    store = Deployments(tmp_path / "tasks")
    with Modules(WORKFLOWS).entered():
        project = load(WORKFLOWS / "apps_called.py", WORKFLOWS)
        declared = declare(project, [t for t in project.tasks if t.name == "ask"], tmp_path / "declared")
    (one,), digest = declared, runs.images["leaf"].digest
    references = references_of({"called": digest})
    spec = registered(pin_root(one.spec, references, "called", ""), PROJECT, DOMAIN, "1")
    images = dict.fromkeys(references.values(), digest)
    bundle = one.serialized.bundle
    store.put([DeployedTask(PROJECT, DOMAIN, "called.ask", "1", "called", spec.SerializeToString(), images,
                            bundle_digest(bundle), bundle, 0.0, {}, apps=brings)])  # fmt: skip
    root, own = runs.action("apps", "call"), (app(runs, "front", mine),)
    ended = runs.run(root, "r", apps=own, engine=choose(network=network), control=Control(store))
    assert ended.phase is Phase.SUCCEEDED, ended.error
    assert outputs(ended) == ["front answers", "the called one's front", "the called one's back", "front answers"]
    assert sorted(a.task for a in ended.actions) == ["called.again", "called.ask", "leaf.call"]
    mark = bundle_digest(bundle)[7:15]
    logs = sorted(p.name for p in (ended.folder / "workers").glob("app-*.log"))
    assert logs == sorted(["app-front.log", f"app-back-{mark}.log", f"app-front-{mark}.log"])
    assert not (ended.folder / "scratch").exists()
    assert not [w for w in runs.observer.warnings if "ended with exit code" in w]


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
