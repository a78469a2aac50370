"""Calls of tasks that a target does not serve are told by file and line, and others are not."""

from __future__ import annotations

from pathlib import Path

import pytest

import flyte_build
from flyte_build.workbench.unserved import unserved

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
    ("body", "called"),
    [
        ("flyte.run(asks, x=1)", "flyte.run"),
        ("await f.run.aio(asks, x=1)", "flyte.run"),
        ("go(asks, x=1)", "flyte.run"),
        ('flyte.with_runcontext(name="n").run(asks, x=1)', "flyte.with_runcontext"),
        ('Task.get("e.asks", auto_version="latest")', "flyte.remote.Task.get"),
        ('remote.Task.get("e.asks")', "flyte.remote.Task.get"),
        ('(lambda: flyte.remote.Task.get("e.asks"))()', "flyte.remote.Task.get"),
        ('flyte.with_runcontext(mode="local").run(asks, x=1)', None),
        ("env.run(asks)", None),
        ("x += 1", None),
    ],
)
def test_what_is_called_in_a_task(tmp_path: Path, body: str, called: str | None) -> None:
    (tmp_path / "flow.py").write_text(HEAD.format(body=body), encoding="utf-8")
    found = unserved(flyte_build.open(tmp_path / "flow.py"))
    assert [line.split(":", 2)[:2] for line in found] == ([["flow.py", "13"]] if called else [])
    assert all(f"`{called}`: tasks " in line for line in found)
