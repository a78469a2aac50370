"""Names of earlier Flytes end in the error of today's SDK, with the name of today as the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.kernel.errors import LoadError
from flyte_build.project.former_names import todays_name
from flyte_build.project.loading import load

TASK = "@env.task{}\ndef work(x: int) -> int:\n    return x\n"
ENV = 'env = flyte.TaskEnvironment("e")\n'


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ('env = flyte.TaskEnvironment("e", env={"A": "1"})', "`env`: variables are `env_vars={…}`"),
        ('env = flyte.TaskEnvironment("e", python="3.11")', "from_debian_base(python_version=(3, 12))"),
        ('env = flyte.TaskEnvironment("e", task_queue="q")', "`task_queue`: it is called `queue` today"),
        ('r = flyte.Resources(gpu="1")', "a number of any GPUs is a number today, `gpu=1`"),
        ('r = flyte.Resources(mem="1Gi")', "`mem`: it is called `memory` today"),
        (ENV + TASK.format("(resources=flyte.Resources(cpu=1))"), "`resources`: it is an environment's"),
        (ENV + TASK.format("") + "work.with_overrides(cpu=1)", "`with_overrides`: it is called `override` today"),
        ("@flyte.workflow\ndef f(): pass", "`workflow`: a workflow is a task that calls tasks today"),
    ],
)
def test_what_to_write_today(body: str, hint: str, tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text(f"import flyte\n{body}\n")
    with pytest.raises(LoadError) as caught:
        load(file, tmp_path)
    assert hint in (caught.value.hint or ""), caught.value
    assert len(caught.value.message) < 600
    # It stands where the name is.
    assert "flow.py:" in caught.value.message


def test_others_errors_are_their_own() -> None:
    assert todays_name(TypeError("f() got an unexpected keyword argument 'env'")) is None
    assert todays_name(AttributeError("module 'numpy' has no attribute 'task'")) is None
    assert todays_name(TypeError("TaskEnvironment.__init__() got an unexpected keyword argument 'colour'")) is None
    assert todays_name(ValueError("gpu must be one of X, got Z100:1")) is None
