"""Pods on this machine, whole: real sandboxes with the stock runtime, and containers in images without a Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyte_build.submit.action import ImageRoot, Phase
from flyte_build.submit.pods.given import Shelf
from flyte_build.submit.pods.posing import Pods
from flyte_build.submit.roots import prepare
from flyte_build.submit.run import RunResult
from flyte_build.submit.sandbox.entrance import choose
from flyte_build.submit.sandbox.spec import Engine, Network
from tests.submit.conftest import Runs
from tests.support.flyte_files import host_image
from tests.support.tiny_root import tiny_folder

pytestmark = pytest.mark.integration

ENVIRONMENT = {"API_TOKEN": "t0ken", "API_TLS_KEY": "k3y"}
SHELF = Shelf(
    {
        "team-default": {
            "spec": {
                "containers": [
                    {"name": "default", "env": [{"name": "ALL", "value": "all"}], "workingDir": "/srv/own"},
                    {"name": "primary", "env": [{"name": "NAMED", "value": "$(ALL) named"}]},
                ],
            }
        }
    },
    {"settings": {"mode": "fast"}},
)
SERVER = "import socket, sys\ns = socket.create_server(('127.0.0.1', int(sys.argv[1])))\nwhile True:\n    c, _ = s.accept()\n    c.sendall(b'served')\n    c.close()\n"  # noqa: E501


def tools(folder: Path) -> ImageRoot:
    """An image of a shell and a few tools: no Python."""
    root = folder / "images" / "tools"
    tiny_folder(root)
    prepare(root)
    return ImageRoot("sha256:" + "9" * 64, root, "", ("PATH=/bin",))


def python(folder: Path) -> ImageRoot:
    found = host_image(folder / "images", "sha256:" + "8" * 64)
    entrypoint = ("python", "-c", SERVER)
    return ImageRoot(found.digest, found.root, found.python, found.env, found.workdir, found.binds, entrypoint)


@pytest.fixture
def run(runs: Runs) -> Callable[..., RunResult]:
    for name in ("pods", "pods-failing", "pods-ports", "pods-named"):
        runs.images[name] = runs.images["leaf"]
    others = {image.digest: image for image in (tools(runs.folder), python(runs.folder))}
    images = {"tools:1": "sha256:" + "9" * 64, "python:1": "sha256:" + "8" * 64}

    def run(task: str, **options: Any) -> RunResult:
        pods = Pods(SHELF, images, others.__getitem__)
        return runs.run(runs.action("pods", task), task, pods=pods, environment=ENVIRONMENT, **options)

    return run


def test_a_pod_is_what_its_template_says(
    run: Callable[..., RunResult], runs: Runs, outputs: Callable[[RunResult], Any], engine: Engine
) -> None:
    ended = run("show", engine=engine)
    assert ended.phase is Phase.SUCCEEDED, ended.error
    found = json.loads(outputs(ended))
    assert found.pop("POD").startswith("show-a0-1-")
    assert found == {
        "A": "1",
        "B": "12 $(LATER) $(A)",
        "TEAM": "x",
        "MEMORY": "350",
        "TOKEN": "t0ken",
        "MODE": "fast",
        "FROM_ENV": "1",
        "said": ["hello", "4711"],
        "part": "seeded\n",
        "mode": "fast",
        "key": "k3y",
        "cwd": "/srv/here",
        "uid": 1234,
        "memory": 1 << 20,
        "passwd": True,
    }
    said = [line for line in runs.observer.warnings if "pod templates" in line]
    assert said == [
        "pod templates: nodeSelector has no meaning here",
        "pod templates: stdin has no meaning here",
        "pod templates: securityContext.fsGroup has no meaning here",
    ]
    assert not list((ended.folder / "scratch").glob("*"))


def test_an_init_container_that_fails_ends_the_attempt(run: Callable[..., RunResult]) -> None:
    ended = run("never")
    assert ended.phase is Phase.FAILED
    assert ended.error is not None
    assert ended.error.message == (
        "ended with exit code 7 and left neither outputs nor an error; the end of its log:\n"
        "init container first ended with exit code 7; the end of its log:\nno such luck"
    )


@pytest.mark.parametrize("network", ["host", "none"])
def test_containers_reach_each_other_on_the_loopback(
    run: Callable[..., RunResult], outputs: Callable[[RunResult], Any], network: Network
) -> None:
    ended = run("ask", engine=choose(network=network))
    assert ended.phase is Phase.SUCCEEDED, ended.error
    assert outputs(ended) == "served"


def test_a_named_template_is_the_folders(run: Callable[..., RunResult], outputs: Callable[[RunResult], Any]) -> None:
    ended = run("who")
    assert ended.phase is Phase.SUCCEEDED, ended.error
    assert outputs(ended) == "all named all /srv/own"
