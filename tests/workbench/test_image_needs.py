"""What images need of nodes: by their locks, and by the registry that has those that are used as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import flyte
import pytest

import flyte_build
from flyte_build.kernel.errors import RunError
from flyte_build.locks.nouns import Lock
from flyte_build.project.nouns import Environment
from flyte_build.settings import Settings
from flyte_build.submit.kubernetes.needs import Needs
from flyte_build.workbench.image_needs import needs_of, platforms_of, refuse_lost_folders
from tests.support.bases import debian_base, publish_base, publish_index
from tests.support.recipes import lock_of, recipe_of, wheel
from tests.support.registry import RegistryServer

REFERENCE = f"registry.test/team/env@sha256:{1:064x}"


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        yield server


class Locked:
    """A workspace, as far as it is asked."""

    def __init__(self, **locks: Lock) -> None:
        self._locks = locks

    def locks(self, environments: Any) -> dict[str, Lock]:
        return {e.name: self._locks[e.name] for e in environments}


@pytest.mark.parametrize("template", [flyte.PodTemplate(labels={"a": "b"}), "named", None])
@pytest.mark.parametrize("folder", ["/var/inputs", "/in"])
def test_folders_that_the_sdk_leaves_out_are_said(tmp_path: Path, template: Any, folder: str) -> None:
    (tmp_path / "flow.py").write_text(
        "import flyte\nfrom flyte.extras import ContainerTask\n"
        f"task = ContainerTask('it', 'docker.io/x:1', ['run'], input_data_dir={folder!r})\n"
        "env = flyte.TaskEnvironment.from_task('raw', task)\n"
    )
    (task,) = flyte_build.open(tmp_path / "flow.py").tasks
    task.template.pod_template = template
    if isinstance(template, flyte.PodTemplate) and folder == "/in":
        with pytest.raises(RunError, match=r"it has a pod template, with which .* nobody of its `input_data_dir`"):
            refuse_lost_folders([task])
    else:
        refuse_lost_folders([task])


def test_an_image_of_ours_is_for_what_was_pushed_of_it() -> None:
    recipe = replace(recipe_of(), platforms=("linux/amd64", "linux/arm64"))
    workspace: Any = Locked(env=lock_of(recipe, [wheel("nvidia-cuda-runtime-cu12", "12.4.127")]))
    both, left = Environment("env", (), "main.py", recipe), Environment("left", (), "main.py", recipe)

    def found(**settings: Any) -> dict[str, Needs]:
        return needs_of(workspace, [both, left], {"env": REFERENCE}, Settings(**settings))

    assert found() == {f"sha256:{1:064x}": Needs(("linux/amd64", "linux/arm64"), "12.4")}
    assert found(platforms=("linux/arm64",)) == {f"sha256:{1:064x}": Needs(("linux/arm64",), "12.4")}


def test_an_image_of_somebody_else_is_for_what_its_registry_says(registry: RegistryServer, tmp_path: Path) -> None:
    settings = Settings(insecure_registries=(registry.host,))
    index = publish_index(registry, "team/base", [debian_base(), debian_base(architecture="arm64")])
    alone = publish_base(registry, "team/base", debian_base(architecture="arm64"), None)
    assert platforms_of("env", f"{registry.host}/team/base@{index}", settings) == ("linux/amd64", "linux/arm64")
    assert platforms_of("env", f"{registry.host}/team/base@{alone}", settings) == ("linux/arm64",)
    gone = f"{registry.host}/team/base@sha256:{2:064x}"
    with pytest.raises(RunError, match=f"the image of env is not there: its registry has no {gone}"):
        platforms_of("env", gone, settings)
    registry.fail("GET", "manifest", status=403, times=9)
    assert platforms_of("env", f"{registry.host}/team/base@{index}", settings) == (), "nodes may have a login for it"
