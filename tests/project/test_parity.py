"""What the SDK makes of each level of a task's configuration, as a run here gets it: read off the specification."""

from __future__ import annotations

import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flyteidl2.task import task_definition_pb2

from flyte_build.project.declaring import declare
from flyte_build.project.loading import load
from flyte_build.project.modules import Modules
from flyte_build.submit.template import Task, read_task
from flyte_build.workbench.code_strings import uncallable

FILE = """
import flyte
from flyte.extras import ContainerTask

image = flyte.Image.from_debian_base(python_version=(3, 11))
env = flyte.TaskEnvironment(
    "env", image=image, description="what it is for", resources=flyte.Resources(cpu=1, memory="300Mi"),
    env_vars={"LEVEL": "env", "ONLY": "env"}, secrets="KEY", cache="auto", queue="slow", interruptible=True,
    include=["words.txt"],
)
base = flyte.TaskEnvironment("base", image=image, resources=flyte.Resources(cpu=1), env_vars={"ONLY": "env"})
wide = base.clone_with(name="wide", resources=flyte.Resources(cpu=4))

@env.task
async def plain() -> str: ...

@env.task(retries=3, timeout=7, cache="disable", interruptible=False, queue="fast", report=True, short_name="short")
async def own() -> str: ...

@wide.task
async def cloned() -> str: ...

@env.sandbox.orchestrator
def small(n: int) -> int:
    return n * 2

@env.sandbox.orchestrator(timeout_ms=1000)
def limited(n: int) -> int:
    return n * 2

code = env.sandbox.orchestrator("x + y", inputs={"x": int, "y": int}, output=int, name="code")
grouped = flyte.TaskEnvironment.from_task("grouped", code)
bare = env.sandbox.orchestrator("small(x)", tasks=[small], inputs={"x": int}, output=int)
unnamed = env.sandbox.orchestrator("x - 1", inputs={"x": int}, output=int)
overridden = plain.override(
    resources=flyte.Resources(cpu=2), env_vars={"LEVEL": "call"}, retries=1, timeout=flyte.Timeout(deadline=9))
"""


DOCS = """
import flyte
env = flyte.TaskEnvironment("env")
docs = flyte._doc.Documentation(description="Its docs.")
@env.task(docs=docs)
def own() -> None: ...
@env.task(docs=docs)
def both() -> None:
    'Its string.'
@env.task
def string() -> None:
    \'\'\'Its string.

    More.\'\'\'
@env.task
def none() -> None: ...
code = env.sandbox.orchestrator("x + y", inputs={"x": int, "y": int}, output=int, name="code")
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Task]]:
    folder = tmp_path_factory.mktemp("parity")
    (folder / "flow.py").write_text(FILE)
    (folder / "words.txt").write_text("words")
    with Modules(folder).entered():
        project = load(folder / "flow.py", folder)
        found = declare(project, project.tasks, folder / "bundles")
        plain = next(t for t in project.tasks if t.name == "plain")
        found += declare(
            project, [replace(plain, name="overridden", template=sys.modules["flow"].overridden)], folder / "bundles"
        )
    with tarfile.open(found[0].serialized.bundle) as bundle:
        assert sorted(bundle.getnames()) == ["flow.py", "words.txt"]
    specs = {one.task.name: task_definition_pb2.TaskSpec.FromString(one.spec) for one in found}
    return {name: (spec, read_task(spec)) for name, spec in specs.items()}


def test_a_task_has_what_its_environment_says(read: dict[str, tuple[Any, Task]]) -> None:
    spec, task = read["plain"]
    assert (task.resources.cpu, task.resources.memory) == (1, 300 << 20)
    assert {k: task.env[k] for k in ("LEVEL", "ONLY")} == {"LEVEL": "env", "ONLY": "env"}
    assert [s.key for s in task.secrets] == ["KEY"]
    assert spec.task_template.metadata.discoverable
    assert spec.task_template.metadata.interruptible
    assert len(task.cache_version) == 64


def test_the_decorator_wins_over_the_environment(read: dict[str, tuple[Any, Task]]) -> None:
    spec, task = read["own"]
    assert (task.retries, task.timeout, task.resources.cpu) == (3, 7, 1)
    assert not spec.task_template.metadata.discoverable
    assert not spec.task_template.metadata.interruptible
    assert spec.short_name == "short"


def test_what_a_task_says_of_itself_is_its_docs_else_its_docstring(tmp_path: Path) -> None:
    (tmp_path / "said.py").write_text(DOCS)
    with Modules(tmp_path).entered():
        project = load(tmp_path / "said.py", tmp_path)
    assert {t.name: t.doc for t in project.tasks} == {
        "own": "Its docs.", "both": "Its docs.", "string": "Its string.\n\nMore.", "none": "", "code": "x + y"
    }  # fmt: skip


def test_on_a_target_it_is_said_which_code_given_as_text_nobody_can_call(tmp_path: Path) -> None:
    (tmp_path / "texts.py").write_text(FILE)
    (tmp_path / "words.txt").write_text("words")
    with Modules(tmp_path).entered():
        project = load(tmp_path / "texts.py", tmp_path)
    tasks = {t.name: t for t in project.tasks}
    line = next(n for n, text in enumerate(FILE.splitlines(), 1) if text.startswith("unnamed ="))
    (said,) = uncallable(project.tasks, tasks["sandboxed-code"])
    assert said.startswith(
        f"texts.py:{line}: sandboxed-code-2 is code given as text: on a target no other task can call"
    )
    assert len(uncallable(project.tasks, tasks["plain"])) == 2, "and nothing of what `from_task` took"


def test_the_call_wins_over_both(read: dict[str, tuple[Any, Task]]) -> None:
    _, task = read["overridden"]
    assert (task.resources.cpu, task.env["LEVEL"], task.retries, task.deadline) == (2, "call", 1, 9)


def test_a_cloned_environment_has_the_rest_of_what_it_was_cloned_from(read: dict[str, tuple[Any, Task]]) -> None:
    _, task = read["cloned"]
    assert (task.environment, task.resources.cpu, task.env["ONLY"]) == ("wide", 4, "env")


def test_sandboxed_functions_and_code_in_an_environment_are_tasks_of_it(read: dict[str, tuple[Any, Task]]) -> None:
    assert {name: read[name][1].environment for name in ("small", "limited", "code")} == {
        "small": "env", "limited": "env", "code": "grouped"
    }  # fmt: skip
    assert {name: read[name][1].environment for name in ("sandboxed-code", "sandboxed-code-2")} == {
        "sandboxed-code": "env", "sandboxed-code-2": "env"
    }  # fmt: skip
    args = read["sandboxed-code-2"][0].task_template.container.args
    assert list(args[-4:]) == ["mod", "flow", "instance", "unnamed"]
    inputs = [v.key for v in read["code"][0].task_template.interface.inputs.variables]
    assert inputs == ["x", "y"]
