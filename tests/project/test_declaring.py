"""A task as it is registered: parameters, their defaults and its words, without a call."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest
from flyte.types import guess_interface
from flyteidl2.task import task_definition_pb2

from flyte_build.kernel.errors import LoadError
from flyte_build.project.declaring import declare
from flyte_build.project.loading import load
from flyte_build.project.modules import Modules

FILE = '''
import flyte
from dataclasses import dataclass

env = flyte.TaskEnvironment("env", cache="auto")

@dataclass
class Shape:
    sides: int = 3

class Odd:
    def __init__(self):
        raise RuntimeError("no such thing")

@env.task(short_name="nice", retries=2)
async def work(z: int, a: str = "x", more: list[int] | None = None) -> int:
    """What it does.

    At length.
    """
    return z

@env.task
async def plain() -> None: ...

@env.task
async def shape(s: Shape = Shape()) -> Shape: ...
'''


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    tmp_path = tmp_path_factory.mktemp("declared")
    (tmp_path / "flow.py").write_text(FILE)
    modules = Modules(tmp_path)
    with modules.entered():
        project = load(tmp_path / "flow.py", tmp_path)
        found = declare(project, project.tasks, tmp_path / "bundles")
    return {d.task.name: (task_definition_pb2.TaskSpec.FromString(d.spec), d) for d in found}


def test_parameters_and_their_defaults_are_the_tasks_own(declared: dict[str, Any]) -> None:
    spec, found = declared["work"]
    template = spec.task_template
    assert [v.key for v in template.interface.inputs.variables] == ["a", "more", "z"]
    assert [d.name for d in spec.default_inputs] == ["a", "more"]
    interface = guess_interface(template.interface, default_inputs=spec.default_inputs)
    assert interface.inputs["a"][0] is str
    assert interface.inputs["z"][0] is int
    assert (template.id.name, spec.short_name, spec.environment.name) == ("env.work", "nice", "env")
    assert (template.metadata.retries.retries, template.metadata.discoverable) == (2, True)
    assert spec.documentation.short_description == "What it does."
    assert spec.documentation.long_description == "At length."
    with tarfile.open(found.serialized.bundle) as bundle:
        assert bundle.getnames() == ["flow.py"]


def test_a_task_without_parameters_has_none(declared: dict[str, Any]) -> None:
    spec, _ = declared["plain"]
    assert not spec.task_template.interface.inputs.variables
    assert not spec.default_inputs
    assert [d.name for d in declared["shape"][0].default_inputs] == ["s"]


def test_declaring_changes_nothing_of_the_task(declared: dict[str, Any]) -> None:
    assert list(declared["work"][1].task.template.native_interface.inputs) == ["z", "a", "more"]


def test_a_default_that_cannot_be_passed_on_is_said(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "import flyte\nenv = flyte.TaskEnvironment('env')\n@env.task\nasync def bad(x: int = 'no number') -> int: ...\n"
    )
    with Modules(tmp_path).entered():
        project = load(tmp_path / "flow.py", tmp_path)
        with pytest.raises(LoadError, match=r"env\.bad cannot be deployed: "):
            declare(project, project.tasks, tmp_path / "bundles")
