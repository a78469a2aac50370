"""What a run starts from, where the SDK's own dry run has no tag for the image."""

from __future__ import annotations

from pathlib import Path

from flyte_build.project.loading import load
from flyte_build.project.serializing import root_action

MAIN = """
import flyte

env = flyte.TaskEnvironment(
    name="env", image=flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages("six").with_code_bundle()
)

@env.task
def main(x: int) -> int:
    return x
"""


def test_an_image_with_its_code_in_it_is_run_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN)
    made = load(tmp_path / "main.py", tmp_path)
    task = made.task("main")
    before = task.template.image
    action = root_action(made, task, {"x": 3}, tmp_path / "bundles")
    assert b"env.main" in action.task_spec
    assert action.bundle.stat().st_size > 0
    assert task.template.image is before
