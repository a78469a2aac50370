"""Whose task is found how in a sandbox, and what is there besides: copies made at the call, code given as text."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flyte_build.submit.action import LaunchRequest, Phase
from flyte_build.submit.resolving import put_resolver, resolving
from flyte_build.submit.run import RunResult
from flyte_build.submit.storage import Storage

from .conftest import Runs

ARGS = ("a0", "--dest", ".", "--resolver", "some.Resolver", "mod", "flow", "instance", "main")


def request(*args: str, **env: str) -> LaunchRequest:
    return LaunchRequest("run", "a0", 1, "env.main", "sha256:0", args, env, Path("log"))


def test_the_tasks_own_resolver_is_asked_in_turn() -> None:
    changed = resolving(request(*ARGS, _F_SYS_PATH="./src"))
    assert changed.args == (*ARGS[:4], "flyte_build_resolver.Resolver", *ARGS[4:])
    assert changed.env == {"_F_SYS_PATH": "./src:/mnt/flyte/bundles/resolver"}


def test_what_is_told_of_no_resolver_stays_as_it_is() -> None:
    container = request("/bin/sh", "-c", "true")
    assert resolving(container) is container


FLOW = """
import flyte
env = flyte.TaskEnvironment("env")
first = env.sandbox.orchestrator("x + 1", inputs={"x": int}, output=int)
second = env.sandbox.orchestrator("x + 2", inputs={"x": int}, output=int)
own = flyte.TaskEnvironment.from_task("own", env.sandbox.orchestrator("1", inputs={}, output=int, name="taken"))
@env.task
def main() -> int: ...
"""
LOOK = """
import sys
import flyte_build_resolver
task = flyte_build_resolver.Resolver().load_task(
    ("flyte._internal.resolvers.default.DefaultTaskResolver", "mod", "flow", "instance", sys.argv[1]))
import flow
print(task.name, sorted(flow.env.tasks), [flow.first.parent_env_name, flow.second.name, *flow.own.tasks])
"""


def test_code_given_as_text_is_its_environments_in_a_sandbox_too(tmp_path: Path) -> None:
    folder = Storage(tmp_path).run("run")
    folder.bundles.mkdir(parents=True)
    put_resolver(folder)
    (tmp_path / "flow.py").write_text(FLOW)
    env = {"PYTHONPATH": f"{folder.bundles}/resolver:{tmp_path}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", LOOK, "second"], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == (
        "sandboxed-code-2 ['env.main', 'sandboxed-code', 'sandboxed-code-2'] ['env', 'sandboxed-code-2', 'taken']\n"
    ), done.stderr


def test_what_is_gone_when_its_task_returns_arrives(runs: Runs, outputs: Callable[[RunResult], Any]) -> None:
    found = runs.run(runs.action("handed_on", "main"), "one")
    assert found.phase is Phase.SUCCEEDED, found.error
    assert outputs(found) == ["a.txt=a", "sub/b.txt=b", "a", "True"]
    again = runs.run(runs.action("handed_on", "sync"), "two", warm=False)
    assert again.phase is Phase.SUCCEEDED, again.error
    assert outputs(again) == ["sync", "a.txt"]
