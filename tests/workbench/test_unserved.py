"""Calls by name that a target has no task for are told by file and line, and others are not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import flyte_build
from flyte_build.kernel.errors import RunError
from flyte_build.submit.deployed import DeployedTask, Deployments
from flyte_build.workbench.unserved import unserved
from tests.submit.test_deployed import task

HEAD = """
import flyte
import flyte as f
import flyte.remote
from flyte import remote, run as go
from flyte.remote import Task

env = flyte.TaskEnvironment("e", image=flyte.Image.from_debian_base(python_version=(3, 11)))


@env.task
async def asks(x: int) -> int:
    {body}
    return x


def helper():
    return flyte.run(asks, x=1)
"""


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('Task.get("e.gone", auto_version="latest")', "no task e.gone was deployed to target prod"),
        ('remote.Task.get(name="e.gone")', "`flyte-build deploy --on prod FILE` does that"),
        ('await flyte.remote.Task.get.aio("e.gone")', "no task e.gone"),
        ('(lambda: flyte.remote.Task.get("e.there", version="2"))()', "no task e.there of version 2"),
        ('Task.get("e.there", project="other")', "no task e.there"),
        ("Task.get(str(x))", "which task it means is known once it is called"),
        ('Task.get("e.there", version=str(x))', "which task it means is known once it is called"),
        ('Task.get("e.there", auto_version="latest")', None),
        ('Task.get("e.there", version="1")', None),
        ('Task.get("e.asks", auto_version="current")', None),
        ("flyte.run(asks, x=1)", None),
        ('flyte.with_runcontext(name="n").run(asks, x=1)', None),
        ("x += 1", None),
    ],
)
def test_what_is_called_in_a_task(tmp_path: Path, body: str, why: str | None) -> None:
    (tmp_path / "flow.py").write_text(HEAD.format(body=body), encoding="utf-8")
    deployed = Deployments(tmp_path / "tasks")
    deployed.put([dataclasses.replace(task(tmp_path, "e.there"), project="flyte-build", domain="development")])
    found = unserved(flyte_build.open(tmp_path / "flow.py"), "prod", deployed)
    assert [line.split(":", 2)[:2] for line in found] == ([["flow.py", "13"]] if why else [])
    assert all("`flyte.remote.Task.get`: " in line and str(why) in line for line in found)


def test_a_storage_that_cannot_be_read_is_no_refusal(tmp_path: Path) -> None:
    class Broken:
        def find(self, *_: str) -> DeployedTask | None:
            raise RunError("s3://b/x: no route")

        def listed(self, *_: str) -> list[DeployedTask]:
            return []

    (tmp_path / "flow.py").write_text(HEAD.format(body='Task.get("e.there")'), encoding="utf-8")
    (line,) = unserved(flyte_build.open(tmp_path / "flow.py"), "prod", Broken())
    assert "whether e.there was deployed to target prod cannot be read: s3://b/x: no route" in line
