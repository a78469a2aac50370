"""What a run starts from, where the SDK's own dry run has no tag for the image."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

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


def test_what_was_importable_here_is_importable_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("packages/one/src", "lib/python3/site-packages", "elsewhere"):
        (tmp_path / "root" / folder).mkdir(parents=True)
    (tmp_path / "root" / "main.py").write_text(MAIN)
    added = ["packages/one/src", "lib/python3/site-packages", "gone", ".", "../elsewhere"]
    monkeypatch.setattr(sys, "path", [*sys.path, *(str(tmp_path / "root" / entry) for entry in added)])
    made = load(tmp_path / "root" / "main.py", tmp_path / "root")
    action = root_action(made, made.task("main"), {"x": 3}, tmp_path / "bundles")
    assert action.env == {"_F_SYS_PATH": "./packages/one/src"}


def test_an_image_with_its_code_in_it_is_run_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN)
    made = load(tmp_path / "main.py", tmp_path)
    task = made.task("main")
    before = task.template.image
    action = root_action(made, task, {"x": 3}, tmp_path / "bundles")
    assert b"env.main" in action.task_spec
    assert action.bundle.stat().st_size > 0
    assert task.template.image is before


def test_the_queue_that_a_task_names_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN.replace("@env.task", '@env.task(queue="urgent")'))
    made = load(tmp_path / "main.py", tmp_path)
    assert root_action(made, made.task("main"), {"x": 3}, tmp_path / "bundles").queue == "urgent"
